// Sends the microphone's sound to the route /stream of the server of this page, and shows the answers.
// In: `data` from live.py. Out: the trigger "session" when a session ends. The messages: docs/live.md.

const CHUNKS_PER_SECOND = 10;
const SHOWN_SECONDS = 60;
const TIMEOUT_SECONDS = 10; // for the server to accept, to answer and to finish
const MAX_UNSENT_BYTES = 2 ** 21; // 11 s at 48 kHz
const FLOOR_DBFS = -60;
const QUIET_DBFS = -40; // peak of the last two seconds
const CLIPPING = 0.98; // of full scale
const MAX_KEPT_SAMPLES = 95 * 2 ** 20; // of sound that is handed over at the end: half an hour at 48 kHz

// Runs in the audio thread, where rendering cannot delay it; no sample is dropped between two chunks.
const COLLECTOR = `
registerProcessor("collector", class extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.chunk = new Float32Array(processorOptions.size);
    this.filled = 0;
    this.isOver = false;
    this.port.onmessage = () => { this.isOver = true; this.flush(); };
  }
  process([channels]) {
    const samples = channels[0] ?? [];
    for (let taken = 0; taken < samples.length && !this.isOver; ) {
      const part = samples.subarray(taken, taken + this.chunk.length - this.filled);
      this.chunk.set(part, this.filled);
      this.filled += part.length;
      taken += part.length;
      if (this.filled === this.chunk.length) this.flush();
    }
    return !this.isOver;
  }
  flush() {
    const samples = this.chunk.slice(0, this.filled);
    this.filled = 0;
    this.port.postMessage({ samples, capturedAt: Date.now(), isLast: this.isOver }, [samples.buffer]);
  }
});`;

const CLOSED = {
  1008: "The server ended the session. Press Start for a new one.",
  1012: "The server is restarting. Press Start in a moment.",
  1013: "The server has no free connection. Try again in a moment.",
};
const LOST = "The connection to the server was lost. The answers so far are kept. Press Start for a new session.";
const REFUSED = {
  NotAllowedError:
    "The microphone is not allowed. Allow it for this page, to the left of the address bar, then press Start.",
  NotFoundError: "No microphone was found. Plug one in, then press Start.",
  NotReadableError: "The microphone is switched off or used by another program. Free it, then press Start.",
};
const INSECURE =
  "Browsers allow the microphone only over https or from localhost, but this page was opened over plain http. " +
  `Open it as http://localhost${location.port && `:${location.port}`} on the computer that serves it, or over https.`;

const panels = new WeakMap(); // by element: Streamlit calls again for the same element whenever the page reruns

export default function ({ data, parentElement, setTriggerValue }) {
  if (!panels.has(parentElement)) panels.set(parentElement, new Panel(parentElement));
  panels.get(parentElement).update(data, setTriggerValue);
  return () => panels.get(parentElement).leave();
}

/** One session, from Start until Stop or an error: the microphone, the connection and the answers. */
class Session {
  constructor(data, watcher) {
    Object.assign(this, { data, watcher, isOver: false, isStopping: false });
    this.ready = null;
    this.answers = [];
    this.warnings = [];
    this.nSent = this.nReceived = 0;
    this.kept = []; // the sound as 16-bit samples; null once it is too long to keep
    this.capturedAt = new Map(); // number of samples sent → when the last of them was captured, ms
  }

  get sampleRate() {
    return this.context?.sampleRate ?? 0;
  }

  get seconds() {
    return this.sampleRate ? this.nSent / this.sampleRate : 0;
  }

  async start() {
    try {
      if (!window.isSecureContext || !navigator.mediaDevices) return this.end(INSECURE);
      const unprocessed = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      this.microphone = await navigator.mediaDevices.getUserMedia({ audio: unprocessed });
      if (this.isOver) return this.release(); // stopped while the browser asked
      this.context = new AudioContext(); // at the device's rate: some browsers reject any other
      await this.context.resume();
      const module = URL.createObjectURL(new Blob([COLLECTOR], { type: "text/javascript" }));
      await this.context.audioWorklet.addModule(module);
      URL.revokeObjectURL(module);
      if (this.isOver) return this.release();
      this.connect();
    } catch (error) {
      this.end(REFUSED[error.name] ?? `The microphone could not be opened (${error.message}). Try another browser.`);
    }
  }

  connect() {
    const address = new URL(this.data.path, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address);
    this.socket.onopen = () =>
      this.socket.send(
        JSON.stringify({
          sample_rate: this.sampleRate,
          format: "f32le",
          hop_seconds: this.data.hop_seconds,
          profile: this.data.profile,
        }),
      );
    this.socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    this.socket.onclose = ({ code }) => this.end(CLOSED[code] ?? LOST);
    this.lastMessageAt = performance.now();
    this.timer = setInterval(() => this.checkTimeout(), 1000);
  }

  receive(message) {
    this.lastMessageAt = performance.now();
    if (message.type === "ready") this.open(message);
    if (message.type === "prediction") this.addAnswer(message);
    if (message.type === "error") this.end(message.code === "busy" ? CLOSED[1013] : capital(message.message));
    if (message.type === "end") {
      this.nReceived = message.n_samples;
      this.warnings = message.warnings;
      this.end(null);
    }
  }

  /** The server is ready: from now on every sample is sent. */
  open(ready) {
    this.ready = ready;
    this.collector = new AudioWorkletNode(this.context, "collector", {
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { size: Math.round(this.sampleRate / CHUNKS_PER_SECOND) },
    });
    this.collector.port.onmessage = ({ data }) => this.send(data);
    const [track] = this.microphone.getAudioTracks();
    track.onended = () => this.end("The microphone was unplugged or switched off. Reconnect it, then press Start.");
    this.context.createMediaStreamSource(this.microphone).connect(this.collector).connect(this.context.destination);
    this.watcher.opened();
  }

  send({ samples, capturedAt, isLast }) {
    if (this.isOver) return;
    this.socket.send(samples);
    this.nSent += samples.length;
    this.keep(samples);
    this.capturedAt.set(this.nSent, capturedAt);
    if (isLast) {
      this.release();
      this.socket.send('{"type": "finish"}');
    }
    this.watcher.sent(samples);
    if (this.socket.bufferedAmount > MAX_UNSENT_BYTES)
      this.end("The server or the network is too slow. Try again with fewer users or a faster connection.");
  }

  keep(samples) {
    if (this.nSent > MAX_KEPT_SAMPLES) this.kept = null;
    this.kept?.push(Int16Array.from(samples, (sample) => 32767 * Math.max(-1, Math.min(1, sample))));
  }

  addAnswer({ type: _, n_samples: nSamples, ...answer }) {
    const windowCapturedAt = this.capturedAt.get(nSamples) - 1000 * (nSamples / this.sampleRate - answer.end_seconds);
    for (const count of this.capturedAt.keys()) if (count < nSamples) this.capturedAt.delete(count);
    this.nReceived = nSamples;
    this.answers.push(answer);
    this.watcher.answered(answer, windowCapturedAt);
  }

  mute(isMuted) {
    for (const track of this.microphone.getAudioTracks()) track.enabled = !isMuted; // which sends silence
  }

  /** Send the rest of the sound and wait for the last answers; a second press does not wait. */
  stop() {
    if (!this.collector || this.isStopping) return this.end(null);
    this.isStopping = true;
    this.collector.port.postMessage("flush");
  }

  /** End a session whose server has stopped answering. */
  checkTimeout() {
    const window = this.ready && !this.answers.length ? this.ready.window_seconds : 0;
    if (performance.now() - this.lastMessageAt > 1000 * (window + TIMEOUT_SECONDS)) this.end(LOST);
  }

  end(problem) {
    if (this.isOver) return;
    this.isOver = true;
    clearInterval(this.timer);
    this.release();
    if (this.socket) {
      this.socket.onclose = this.socket.onmessage = null;
      this.socket.close();
    }
    this.watcher.ended(problem);
  }

  /** Switch the microphone off. */
  release() {
    for (const track of this.microphone?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    if (this.context && this.context.state !== "closed") this.context.close();
  }
}

/** The element on the page. */
class Panel {
  constructor(root) {
    this.part = Object.fromEntries([...root.querySelectorAll("[data-part]")].map((e) => [e.dataset.part, e]));
    this.session = null;
    this.levels = []; // of the last two seconds: { rms, peak, isClipped }
    this.spokenAt = 0;
    this.part.start.onclick = () => this.start();
    this.part.stop.onclick = () => this.stop();
    this.part.mute.onclick = () => this.mute();
    this.part.details.ontoggle = () => this.showTable();
    new ResizeObserver(() => this.draw()).observe(this.part.timeline);
    new ResizeObserver(() => this.updateChip()).observe(this.part.panel); // its size is 0 in a tab that is not shown
    this.chip = element("button", "", "Microphone on · Stop");
    this.chip.type = "button";
    this.chip.setAttribute("aria-label", "Microphone on · Stop listening");
    this.chip.onclick = () => this.stop();
    this.show("idle", "Press Start and speak. The sound stays in the memory of the server of this page.");
  }

  update(data, setTriggerValue) {
    this.data = data;
    this.handOver = (session) => setTriggerValue("session", session);
    const chips = ["not_sure", "no_speech"].map((key) => {
      const chip = element("span", "chip", this.words(key));
      chip.prepend(swatch(this.data.colours[key]));
      return chip;
    });
    this.part.legend.replaceChildren(...chips);
    this.draw();
  }

  /** Removed from the page: end the session without handing it over. */
  leave() {
    this.handOver = () => {};
    this.session?.end(null);
  }

  start() {
    this.levels = [];
    this.session = new Session(this.data, this);
    this.show("starting", "Asking for the microphone …");
    this.part.stop.focus();
    this.session.start();
  }

  stop() {
    this.show("stopping", "Waiting for the last answers …");
    this.session.stop();
  }

  mute() {
    const isMuted = this.part.panel.dataset.state !== "muted";
    this.session.mute(isMuted);
    this.show(...(isMuted ? ["muted", "Muted: silence is sent until you unmute."] : ["listening", "Listening."]));
  }

  // Called by the session

  opened() {
    this.clear();
    this.show("listening", `Listening. The first answer comes after ${this.session.ready.window_seconds} s.`);
  }

  sent(samples) {
    const { nSent, seconds, answers, ready } = this.session;
    this.part.panel.dataset.sent = nSent;
    this.part.clock.textContent = clock(seconds);
    this.showLevel(samples);
    if (!answers.length) {
      const left = Math.max(0, ready.window_seconds - seconds).toFixed(1);
      const isMuted = this.part.panel.dataset.state === "muted";
      const title = isMuted ? "muted" : "listening …";
      this.showTitle(title, "", `first answer in ${left} s`, "var(--st-border-color)");
    }
  }

  answered(answer, windowCapturedAt) {
    const { nReceived, answers } = this.session;
    this.part.panel.dataset.received = nReceived;
    this.part.panel.dataset.answers = answers.length;
    if (answers.length === 1 && this.part.panel.dataset.state === "listening") this.show("listening", "Listening.");
    this.showAnswer(answer);
    this.draw();
    this.showTable();
    // How long after its window was captured the answer is drawn.
    requestAnimationFrame(() => (this.part.panel.dataset.delayMs = Math.round(Date.now() - windowCapturedAt)));
  }

  ended(problem) {
    const { answers, kept, nReceived, nSent, ready, seconds, sampleRate, warnings, data } = this.session;
    const last = answers.at(-1);
    Object.assign(this.part.panel.dataset, { received: nReceived, sent: nSent });
    this.show(problem ? "failed" : "stopped", problem ?? `Stopped after ${clock(seconds)}.`);
    if (!last) return;
    this.showAnswer(last);
    this.part.results.hidden = true; // the page shows the whole session
    const session = {
      answers,
      warnings,
      seconds,
      sample_rate: sampleRate,
      hop_seconds: ready.hop_seconds,
      model: ready.model,
      model_sha256: ready.model_sha256,
      profile_seconds: data.profile?.seconds ?? null,
      problem,
      has_sound: false,
    };
    const address = data.sound_path;
    if (!address || !kept?.length) return this.handOver(session);
    const { handOver } = this;
    fetch(new URL(address, location.href), { method: "PUT", body: wav(kept, sampleRate) })
      .then(({ ok }) => handOver({ ...session, has_sound: ok }))
      .catch(() => handOver(session)); // the answers are worth having without the sound
  }

  // Drawing

  show(state, text) {
    const isOn = state === "listening" || state === "muted";
    const focused = this.part.panel.getRootNode().activeElement;
    this.part.panel.dataset.state = state;
    this.part.status.textContent = text;
    this.part.start.disabled = isOn || state === "starting" || state === "stopping";
    this.part.stop.disabled = !this.part.start.disabled;
    this.part.mute.disabled = !isOn;
    this.part.mute.textContent = state === "muted" ? "Unmute" : "Mute";
    this.part.mute.setAttribute("aria-pressed", String(state === "muted"));
    this.part["level-row"].hidden = !isOn;
    if (isOn) this.part.results.hidden = false;
    this.updateChip();
    if (focused?.disabled) (isOn || state === "stopping" ? this.part.stop : this.part.start).focus();
  }

  /** While the microphone is on and the panel is in a hidden tab, show a floating button to stop it. */
  updateChip() {
    const { state } = this.part.panel.dataset;
    const isNeeded = (state === "listening" || state === "muted") && !this.part.panel.offsetWidth;
    if (!isNeeded) return this.chip.remove();
    const theme = getComputedStyle(this.part.panel); // its variables are not set in the rest of the page
    const value = (name) => theme.getPropertyValue(`--st-${name}`);
    Object.assign(this.chip.style, {
      position: "fixed", right: "1rem", bottom: "1rem", zIndex: 1000000, padding: "0.5rem 1rem", cursor: "pointer",
      font: `600 1rem ${value("font")}`, color: value("text-color"), background: value("background-color"),
      border: `2px solid ${value("primary-color")}`, borderRadius: value("button-radius"),
    });
    document.body.append(this.chip);
  }

  clear() {
    Object.assign(this.part.panel.dataset, { sent: 0, received: 0, answers: 0 });
    this.part.bars.replaceChildren();
    this.showTable();
    this.draw();
  }

  showLevel(samples) {
    let power = 0, peak = 0;
    for (const sample of samples) {
      power += sample * sample;
      peak = Math.max(peak, Math.abs(sample));
    }
    this.levels = [...this.levels.slice(1 - 2 * CHUNKS_PER_SECOND), peak];
    const highest = Math.max(...this.levels);
    const isMuted = this.part.panel.dataset.state === "muted";
    const note = isMuted ? "muted" : highest >= CLIPPING ? "clipping" : dbfs(highest) < QUIET_DBFS ? "too quiet" : "";
    const advice = { clipping: ": move away or lower the gain", "too quiet": ": move closer or raise the gain" }[note] ?? "";
    const rms = dbfs(Math.sqrt(power / Math.max(1, samples.length)));
    this.part.meter.dataset.note = note;
    this.part.meter.setAttribute("aria-valuenow", rms.toFixed(0));
    this.part.rms.style.width = `${share(rms)}%`;
    this.part.peak.style.left = `${share(dbfs(highest))}%`;
    const figures = `level ${rms.toFixed(0)} dB, peak ${dbfs(highest).toFixed(0)} dB`.replaceAll("-", "\u2212");
    this.part.level.textContent = note ? `${note}${advice}` : figures;
    this.part.meter.setAttribute("aria-valuetext", note ? `${figures}, ${note}` : figures);
  }

  showAnswer(answer) {
    const isMuted = this.part.panel.dataset.state === "muted" && answer.abstained === "no_speech";
    const key = answer.abstained ?? answer.label;
    const title = isMuted ? "muted" : this.words(key);
    const second = answer.runner_up && `${this.words(answer.runner_up)} ${percent(answer.probabilities[answer.runner_up])}`;
    const named = answer.label && (second ? `then ${second}` : " ");
    const unsure = answer.emotions.length && `maybe ${answer.emotions.map((label) => this.words(label)).join(" or ")}`;
    const noVoice = isMuted ? "silence is sent until you unmute" : "no voice was found";
    const silent = { no_speech: noVoice, too_short: "the sound is too short for an answer" }[key];
    const number = answer.label ? percent(answer.confidence) : "";
    this.showTitle(title, number, named || unsure || silent, this.data.colours[key], this.data.icons[key]);
    this.showBars(answer.probabilities);
    if (title !== this.spoken && performance.now() - this.spokenAt > 3000) {
      this.part.spoken.textContent = title; // for screen readers: changes only, and not too often
      [this.spoken, this.spokenAt] = [title, performance.now()];
    }
  }

  showTitle(title, number, detail, colour, icon = "") {
    this.part.icon.innerHTML = icon; // a drawing of look.py
    this.part.icon.style.background = icon && `color-mix(in srgb, ${colour} 28%, transparent)`;
    this.part.title.textContent = title;
    this.part.share.textContent = number;
    this.part.detail.textContent = detail;
    this.part.answer.style.borderLeftColor = colour;
  }

  showBars(probabilities) {
    const ranked = Object.entries(probabilities).sort(([, one], [, other]) => other - one);
    const rows = ranked.map(([label, probability]) => {
      const bar = element("span", "se-bar");
      const fill = element("i");
      fill.style.width = `${100 * probability}%`;
      fill.style.background = this.data.colours[label];
      bar.append(fill);
      const row = element("li");
      const name = element("span");
      name.innerHTML = this.data.icons[label] ?? "";
      name.append(this.words(label));
      row.append(name, bar, element("span", "se-number", percent(probability)));
      return row;
    });
    this.part.bars.replaceChildren(...rows);
  }

  /** The answers of the last minute, each with the seconds that it added. */
  get recent() {
    const { answers, seconds } = this.session ?? { answers: [], seconds: 0 };
    const slots = answers.map((answer, index) => ({
      answer,
      from: index ? answers[index - 1].end_seconds : answer.start_seconds,
      to: answer.end_seconds,
    }));
    return slots.filter(({ to }) => to > seconds - SHOWN_SECONDS);
  }

  draw() {
    const canvas = this.part.timeline;
    const scale = window.devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return; // in a tab that is not shown
    [canvas.width, canvas.height] = [width * scale, height * scale];
    const brush = canvas.getContext("2d");
    brush.scale(scale, scale);
    const now = this.session?.seconds ?? 0;
    const x = (seconds) => width * (1 - (now - seconds) / SHOWN_SECONDS);
    for (const { answer, from, to } of this.recent) {
      const [left, right] = [Math.floor(x(from)), Math.floor(x(to))];
      const labels = Object.keys(answer.probabilities);
      let top = height; // from the bottom up, as in the other charts
      for (const label of labels) {
        const part = answer.probabilities[label] * height;
        top -= part;
        brush.fillStyle = this.data.colours[label];
        brush.fillRect(left, top, right - left, part);
      }
      if (!answer.abstained) continue;
      brush.fillStyle = this.data.colours[answer.abstained];
      brush.fillRect(left, 0, right - left, labels.length ? 8 : height);
    }
    canvas.setAttribute("aria-label", this.inWords());
  }

  inWords() {
    const shares = {};
    for (const { answer, from, to } of this.recent) {
      const title = this.words(answer.abstained ?? answer.label);
      shares[title] = (shares[title] ?? 0) + to - from;
    }
    const total = Object.values(shares).reduce((sum, seconds) => sum + seconds, 0);
    const ranked = Object.entries(shares).sort(([, one], [, other]) => other - one);
    if (!ranked.length) return "No answers yet";
    return `The last ${Math.round(total)} s: ${ranked.map(([title, s]) => `${title} ${percent(s / total)}`).join(", ")}`;
  }

  showTable() {
    if (!this.part.details.open) return;
    const rows = this.recent.reverse().map(({ answer }) => {
      const row = element("tr");
      const best = answer.label ? ` ${percent(answer.confidence)}` : "";
      const then = answer.runner_up ?? answer.emotions[0];
      row.append(
        element("td", "", `${answer.start_seconds.toFixed(1)}–${answer.end_seconds.toFixed(1)} s`),
        element("td", "", this.words(answer.abstained ?? answer.label) + best),
        element("td", "", then ? `${this.words(then)} ${percent(answer.probabilities[then])}` : ""),
      );
      return row;
    });
    this.part.rows.replaceChildren(...rows);
  }

  words(key) {
    return this.data.labels[key] ?? key.replaceAll("_", " ");
  }
}

function element(name, className = "", text = "") {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
}

function swatch(colour) {
  const node = element("i");
  node.style.background = colour;
  return node;
}

const dbfs = (amplitude) => Math.max(FLOOR_DBFS, 20 * Math.log10(amplitude));
const share = (level) => Math.round(100 * (1 - level / FLOOR_DBFS));
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1) + ".";

/** The samples of `chunks` as a WAV file, mono, 16 bit. */
function wav(chunks, sampleRate) {
  const nBytes = 2 * chunks.reduce((sum, { length }) => sum + length, 0);
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, n) => header.setUint8(at + n, letter.charCodeAt(0)));
  text(0, "RIFF"), text(8, "WAVEfmt "), text(36, "data");
  header.setUint32(4, 36 + nBytes, true);
  header.setUint32(16, 16, true); // bytes of the format that follows: PCM, one channel
  header.setUint16(20, 1, true), header.setUint16(22, 1, true);
  header.setUint32(24, sampleRate, true), header.setUint32(28, 2 * sampleRate, true);
  header.setUint16(32, 2, true), header.setUint16(34, 16, true);
  header.setUint32(40, nBytes, true);
  return new Blob([header, ...chunks], { type: "audio/wav" });
}

/** As `text.clock` writes it, without tenths. */
function clock(seconds) {
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes}:${two(seconds % 60)}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
}

/** As `text.percent` writes it: 0 and 100 % only for exactly 0 and 1. */
function percent(part) {
  if (part > 0 && part < 0.005) return "< 1 %";
  if (part > 0.995 && part < 1) return "> 99 %";
  return `${Math.round(100 * part)} %`;
}
