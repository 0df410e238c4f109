// The player on the page. In: `data` of __init__.py. Out: nothing; whatever is clicked stays in the browser.

import type { Data, Stretch } from "./data.js";
import { clock, percent, spokenClock } from "./format.js";
import { Hearing } from "./hearing.js";
import { type Band, hzAt, type Layout, layOut, luminance, Painter, type Panel, RIGHT, type Theme } from "./paint.js";
import { Source } from "./source.js";
import { clamp, View } from "./view.js";

const PANELS: Panel[] = ["spectrogram", "pitch", "loudness"];
const CLOSER = 0.6; // of the span, per step of zoom
const TENTHS_BELOW = 60; // seconds of sound: there, times have tenths
const PLAYS = "speech-emotion-plays"; // one player at a time
const GONE = "The sound can no longer be read from the server. Load the page again and add the sound once more.";

const players = new WeakMap<HTMLElement | ShadowRoot, Player>();

interface Props {
  data: Data;
  parentElement: HTMLElement | ShadowRoot;
}

/** Streamlit calls this for the same element at every run of the page. */
export default function ({ data, parentElement }: Props): () => void {
  const player = players.get(parentElement) ?? new Player(parentElement);
  players.set(parentElement, player);
  player.update(data);
  return () => {
    players.delete(parentElement);
    player.leave();
  };
}

class Player {
  private readonly part: Record<string, HTMLElement>;
  private readonly audio: HTMLAudioElement;
  private readonly stage: HTMLElement;
  private readonly canvas: HTMLCanvasElement;
  private readonly hearing: Hearing;
  private readonly ended = new AbortController();
  private readonly sizes = new ResizeObserver(() => this.layOut());
  private readonly pointers = new Map<number, number>(); // those that are down, and where they are
  private data!: Data;
  private view!: View;
  private source!: Source;
  private painter!: Painter;
  private layout!: Layout;
  private panels = new Set<Panel>(PANELS);
  private frame = 0;
  private willPaint = false;
  private nowText = "";

  constructor(root: HTMLElement | ShadowRoot) {
    const parts = [...root.querySelectorAll<HTMLElement>("[data-part]")];
    this.part = Object.fromEntries(parts.map((one) => [one.dataset.part!, one]));
    this.audio = this.part.audio as HTMLAudioElement;
    this.stage = this.part.stage!;
    this.canvas = this.part.canvas as HTMLCanvasElement;
    this.hearing = new Hearing(this.audio);
    this.listenToSound();
    this.listenToButtons();
    this.listenToPointers();
    this.sizes.observe(this.part.panel!);
  }

  /** Only another sound begins anew. */
  update(data: Data): void {
    const isNew = data.url !== this.data?.url;
    if (!isNew && JSON.stringify(data) === JSON.stringify(this.data)) return;
    this.data = data;
    this.painter = new Painter(data);
    if (isNew) this.begin();
    this.describe();
    this.layOut();
  }

  leave(): void {
    this.ended.abort();
    this.sizes.disconnect();
    this.source.end();
    cancelAnimationFrame(this.frame);
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    this.hearing.close();
  }

  private begin(): void {
    const { url, seconds, channels } = this.data;
    this.source?.end();
    this.view = new View(Math.max(seconds, 0.01));
    this.source = new Source(this.data, () => this.repaint(), (why) => this.fail(why));
    this.part.problem!.hidden = true;
    this.audio.src = `${url}/sound.wav`;
    const choice = this.part.channel as HTMLSelectElement;
    const isPaired = this.data.lanes.length === channels.length;
    const names = channels.map((name, index) => new Option((isPaired && this.data.lanes[index]?.name) || name, String(index)));
    choice.replaceChildren(new Option("all channels", ""), ...names);
    this.part["channel-choice"]!.hidden = channels.length < 2;
    this.hearing.choose("", channels.length);
  }

  // The sound

  private get position(): number {
    return Math.min(this.audio.currentTime, this.data.seconds);
  }

  private seek(seconds: number): void {
    this.audio.currentTime = clamp(seconds, 0, this.data.seconds);
    this.reveal();
    this.showPosition();
  }

  private toggle(): void {
    if (this.audio.paused) void this.play();
    else this.audio.pause();
  }

  private async play(): Promise<void> {
    try {
      await this.audio.play();
    } catch (error) {
      if ((error as Error).name === "NotSupportedError") this.fail(GONE);
    }
  }

  private fail(why: string): void {
    this.part.problem!.textContent = why.startsWith("This sound") ? GONE : `${why}. ${GONE}`;
    this.part.problem!.hidden = false;
  }

  private listenToSound(): void {
    for (const name of ["play", "pause", "ended", "seeked", "loadedmetadata"] as const)
      this.on(this.audio, name, () => this.showState());
    this.on(this.audio, "error", () => this.fail(GONE));
    this.on(this.audio, "play", () => document.dispatchEvent(new CustomEvent(PLAYS, { detail: this })));
    const quiet = (event: Event): void => {
      if ((event as CustomEvent).detail !== this) this.audio.pause();
    };
    document.addEventListener(PLAYS, quiet, { signal: this.ended.signal });
  }

  /** Listen until the player is removed. */
  private on<K extends keyof HTMLElementEventMap>(
    target: HTMLElement, name: K, react: (event: HTMLElementEventMap[K]) => void, passive = true,
  ): void {
    target.addEventListener(name, react, { signal: this.ended.signal, passive });
  }

  private showState(): void {
    const isPlaying = !this.audio.paused && !this.audio.ended;
    this.part.panel!.dataset.state = isPlaying ? "playing" : "paused";
    this.part.play!.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
    this.showPosition();
    cancelAnimationFrame(this.frame);
    if (isPlaying) this.frame = requestAnimationFrame(() => this.tick());
  }

  /** One frame of the screen while the sound plays. */
  private tick(): void {
    const before = Number(this.part.panel!.dataset.position);
    if (this.view.shows(before) && this.position > this.view.end && !this.pointers.size) this.turn(this.view.end);
    this.showPosition();
    this.frame = requestAnimationFrame(() => this.tick());
  }

  // Where it is

  private showPosition(): void {
    const at = this.position;
    const cursor = this.part.cursor!;
    this.part.panel!.dataset.position = at.toFixed(3);
    if (this.layout) {
      cursor.hidden = !this.view.shows(at);
      cursor.style.transform = `translateX(${this.painter.x(at, this.layout, this.view)}px)`;
    }
    const text = this.clock(at);
    if (this.part.time!.textContent !== text) this.part.time!.textContent = text;
    const now = this.answersAt(at).map(([name, stretch]) => ({ name, stretch }));
    const inWords = now.map(({ name, stretch }) => (name ? `${name}: ` : "") + this.words(stretch)).join(", ");
    const spoken = `${spokenClock(at)} of ${spokenClock(this.data.seconds)}${inWords && `, ${inWords}`}`;
    if (spoken === this.nowText) return;
    this.nowText = spoken;
    this.stage.setAttribute("aria-valuenow", at.toFixed(1));
    this.stage.setAttribute("aria-valuetext", spoken);
    const chips = now.map(({ name, stretch }) => this.chip(name, stretch));
    const isSilent = !chips.length && this.data.lanes.some(({ stretches }) => stretches.length);
    this.part.now!.replaceChildren(...chips, ...(isSilent ? [element("span", "quiet", "no speech")] : []));
  }

  /** The stretch of each lane at a moment. */
  private answersAt(at: number): [string, Stretch][] {
    return this.data.lanes.flatMap(({ name, stretches }) => {
      const found = stretches.find(([start, end]) => start <= at && at < end);
      return found ? [[name, found] as [string, Stretch]] : [];
    });
  }

  private words([, , label, confidence]: Stretch): string {
    const text = this.data.labels.find(({ id }) => id === label)?.text ?? label;
    return confidence === null ? text : `${text} ${percent(confidence)}`;
  }

  private chip(name: string, stretch: Stretch): HTMLElement {
    const chip = element("span", "", (name ? `${name}: ` : "") + this.words(stretch));
    chip.prepend(this.swatch(stretch[2]));
    return chip;
  }

  private swatch(label: string): HTMLElement {
    const swatch = element("i", "swatch");
    swatch.style.background = this.painter.colour(label);
    return swatch;
  }

  private clock(seconds: number): string {
    return clock(seconds, this.data.seconds < TENTHS_BELOW);
  }

  // What is shown of it

  /** Bring the position into view. */
  private reveal(): void {
    if (!this.view.shows(this.position)) this.turn(this.position - this.view.span / 2);
  }

  private turn(start: number): void {
    this.view.moveTo(start);
    this.repaint();
  }

  private zoom(factor: number, at = this.view.shows(this.position) ? this.position : (this.view.start + this.view.end) / 2): void {
    this.view.zoom(factor, at);
    this.repaint();
  }

  private fit(): void {
    this.view.fit();
    this.repaint();
  }

  private layOut(): void {
    const width = this.stage.clientWidth;
    if (!width || !this.data) return; // in a tab that is not shown
    this.layout = layOut(this.data, PANELS.filter((one) => this.panels.has(one)), width);
    this.canvas.style.height = `${this.layout.height}px`;
    this.part.panel!.dataset.plot = `${this.layout.left} ${width - RIGHT}`; // pixels where time begins and ends
    this.repaint();
  }

  /** Once before the next frame, however often it is called. */
  private repaint(): void {
    if (!this.layout) return;
    this.showView();
    this.showPosition();
    if (this.willPaint) return;
    this.willPaint = true;
    requestAnimationFrame(() => {
      this.willPaint = false;
      const theme = this.theme();
      this.painter.paint(this.canvas, this.layout, this.view, theme, this.source.peaks, this.source.best(this.view));
      this.painter.paintMap(this.part.map as HTMLCanvasElement, theme);
      this.part.panel!.dataset.painted = `${this.view.start.toFixed(3)} ${this.view.end.toFixed(3)}`;
    });
    this.source.want(this.view, this.layout.width - this.layout.left);
  }

  private showView(): void {
    const { start, span, isWhole, isClosest, seconds } = this.view;
    const thumb = this.part.thumb!;
    this.part.scroll!.classList.toggle("all", isWhole);
    thumb.style.left = `${(100 * start) / seconds}%`;
    thumb.style.width = `${(100 * span) / seconds}%`;
    (this.part["zoom-out"] as HTMLButtonElement).disabled = isWhole;
    (this.part.fit as HTMLButtonElement).disabled = isWhole;
    (this.part["zoom-in"] as HTMLButtonElement).disabled = isClosest;
  }

  private theme(): Theme {
    const style = getComputedStyle(this.part.panel!);
    const ink = style.color;
    const isDark = luminance(hex(ink)) > 0.5;
    const mix = (share: number): string => rgba(ink, share);
    return {
      ink, isDark, quiet: mix(0.8), line: mix(0.15), font: style.fontFamily,
      wave: isDark ? "#8fa9cc" : "#5f7fae",
    };
  }

  // Buttons and keys

  private listenToButtons(): void {
    const { part, stage } = this;
    const actions: Record<string, () => void> = {
      play: () => this.toggle(),
      previous: () => this.step(-1),
      next: () => this.step(1),
      "zoom-in": () => this.zoom(CLOSER),
      "zoom-out": () => this.zoom(1 / CLOSER),
      fit: () => this.fit(),
    };
    for (const [name, action] of Object.entries(actions)) part[name]!.onclick = action;
    for (const panel of PANELS) part[`show-${panel}`]!.onclick = () => this.show(panel);
    const speed = part.speed as HTMLSelectElement;
    speed.onchange = () => (this.audio.playbackRate = this.audio.defaultPlaybackRate = Number(speed.value));
    const channel = part.channel as HTMLSelectElement;
    channel.onchange = () => {
      this.hearing.choose(channel.value, this.data.channels.length);
      this.source.analyse(channel.value);
      this.repaint();
    };
    this.on(part.details!, "toggle", () => this.showTable());
    this.on(part.panel!, "keydown", (event) => this.press(event), false);
    this.on(part.panel!, "transitionend", ({ propertyName }) => propertyName === "color" && this.repaint()); // a new theme
    document.addEventListener("click", (event) => this.follow(event), { signal: this.ended.signal, capture: true });
    this.on(stage, "wheel", (event) => this.wheel(event), false);
  }

  private press(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || target.tagName === "SELECT") return;
    if (this.part.details!.contains(target)) return; // a table scrolls with the same keys
    if (event.key === " " && target !== this.stage) return; // presses the button that has the focus
    const [small, large] = this.data.seconds > TENTHS_BELOW ? [5, 10] : [0.5, 1];
    const by = (seconds: number) => () => this.seek(this.position + seconds);
    const keys: Record<string, () => void> = {
      " ": () => this.toggle(), k: () => this.toggle(),
      arrowleft: by(-small), arrowright: by(small), arrowdown: by(-small), arrowup: by(small),
      j: by(-large), l: by(large), pageup: by(this.view.span), pagedown: by(-this.view.span),
      home: () => this.seek(0), end: () => this.seek(this.data.seconds),
      "+": () => this.zoom(CLOSER), "=": () => this.zoom(CLOSER), "-": () => this.zoom(1 / CLOSER), 0: () => this.fit(),
      "[": () => this.step(-1), "]": () => this.step(1),
    };
    const action = keys[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation(); // Streamlit has keys of its own
    action();
  }

  /** To the beginning of the next stretch, or of the one before. */
  private step(direction: 1 | -1): void {
    const starts = this.data.lanes.flatMap(({ stretches }) => stretches.map(([start]) => start)).sort((a, b) => a - b);
    const at = this.position;
    const next = direction > 0 ? starts.find((start) => start > at + 0.05) : starts.findLast((start) => start < at - 1);
    this.seek(next ?? (direction > 0 ? this.data.seconds : 0));
  }

  private show(panel: Panel): void {
    if (!this.panels.delete(panel)) this.panels.add(panel);
    this.part[`show-${panel}`]!.setAttribute("aria-pressed", String(this.panels.has(panel)));
    this.layOut();
  }

  /** A link of the page to #t=62.5 plays from there. */
  private follow(event: MouseEvent): void {
    const link = event.composedPath().find((one) => one instanceof HTMLAnchorElement);
    const seconds = /#t=(\d+(?:\.\d+)?)$/.exec(link?.getAttribute("href") ?? "")?.[1];
    if (!seconds || !this.stage.clientWidth) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // of several players the first
    this.playFrom(Number(seconds));
  }

  private playFrom(seconds: number): void {
    this.seek(seconds);
    void this.play();
  }

  // Pointers

  private listenToPointers(): void {
    const { stage } = this;
    this.on(stage, "pointerdown", (event) => this.down(event));
    this.on(stage, "pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"] as const)
      this.on(stage, name, (event) => this.pointers.delete(event.pointerId));
    this.on(stage, "pointerleave", ({ pointerType }) => pointerType === "touch" || this.point(null)); // a tap goes on telling
    const elsewhere = (event: Event): void => {
      if (!event.composedPath().includes(stage)) this.point(null);
    };
    document.addEventListener("pointerdown", elsewhere, { signal: this.ended.signal, capture: true });
    this.on(stage, "dblclick", (event) => this.playFrom(this.timeOf(event)));
    const scroll = this.part.scroll!;
    let grip = 0; // where in the thumb it is held, as a share of the sound
    const share = ({ clientX }: PointerEvent): number => {
      const { left, width } = scroll.getBoundingClientRect();
      return (clientX - left) / width;
    };
    const drag = (event: PointerEvent): void => this.turn((share(event) - grip) * this.data.seconds);
    this.on(scroll, "pointerdown", (event) => {
      scroll.setPointerCapture(event.pointerId);
      const [from, span] = [this.view.start / this.data.seconds, this.view.span / this.data.seconds];
      const held = share(event) - from;
      grip = held >= 0 && held <= span ? held : span / 2;
      drag(event);
    });
    this.on(scroll, "pointermove", (event) => scroll.hasPointerCapture(event.pointerId) && drag(event));
  }

  private timeOf(event: MouseEvent): number {
    return clamp(this.painter.time(this.xOf(event), this.layout, this.view), 0, this.data.seconds);
  }

  private xOf(event: MouseEvent): number {
    return event.clientX - this.stage.getBoundingClientRect().left;
  }

  private down(event: PointerEvent): void {
    if (event.button) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.xOf(event));
    if (this.pointers.size === 1) this.seek(this.timeOf(event));
    this.point(event);
  }

  private move(event: PointerEvent): void {
    if (this.pointers.has(event.pointerId)) {
      const before = [...this.pointers.values()];
      this.pointers.set(event.pointerId, this.xOf(event));
      if (this.pointers.size === 1) this.seek(this.timeOf(event));
      if (this.pointers.size === 2) this.pinch(before, [...this.pointers.values()]);
    }
    this.point(event);
  }

  /** Two fingers: what was between them stays there. */
  private pinch(before: number[], after: number[]): void {
    const middle = (pair: number[]): number => (pair[0]! + pair[1]!) / 2;
    const apart = (pair: number[]): number => Math.max(8, Math.abs(pair[0]! - pair[1]!));
    const time = (x: number): number => this.painter.time(x, this.layout, this.view);
    this.view.zoom(apart(before) / apart(after), time(middle(before)));
    this.turn(this.view.start + time(middle(before)) - time(middle(after)));
  }

  /** Zoom with Ctrl or when the timeline has the focus; otherwise the page scrolls. Sideways, the timeline does. */
  private wheel(event: WheelEvent): void {
    const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    const hasFocus = this.stage.matches(":focus");
    if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
      if (this.view.isWhole) return;
      event.preventDefault();
      this.turn(this.view.start + (sideways / this.layout.width) * this.view.span);
    } else if (event.ctrlKey || event.metaKey || hasFocus) {
      const isOut = event.deltaY > 0;
      if (hasFocus && !event.ctrlKey && (isOut ? this.view.isWhole : this.view.isClosest)) return;
      event.preventDefault();
      this.zoom(Math.exp(clamp(event.deltaY, -60, 60) / (event.ctrlKey ? 80 : 200)), this.timeOf(event));
    }
  }

  /** Tell what is under the pointer. */
  private point(event: PointerEvent | null): void {
    const { hair, tip } = this.part;
    hair!.hidden = tip!.hidden = event === null;
    if (!event || !this.layout) return;
    const [x, y] = [this.xOf(event), event.clientY - this.stage.getBoundingClientRect().top];
    const at = this.timeOf(event);
    hair!.style.transform = `translateX(${this.painter.x(at, this.layout, this.view)}px)`;
    tip!.replaceChildren(...this.tell(at, this.layout.bands.find(({ top, height }) => y >= top && y < top + height), y));
    const [wide, tall] = [tip!.offsetWidth, tip!.offsetHeight];
    const left = x + 14 + wide > this.layout.width ? x - 14 - wide : x + 14;
    tip!.style.transform = `translate(${Math.max(0, left)}px, ${clamp(y + 16, 0, this.layout.height - tall)}px)`;
  }

  private tell(at: number, band: Band | undefined, y: number): HTMLElement[] {
    const lines = [element("b", "", clock(at, this.view.span < 600))];
    const answers = this.answersAt(at);
    for (const [name, stretch] of answers) {
      lines.push(this.chip(name, stretch));
      lines.push(element("span", "quiet", `${clock(stretch[0], true)} to ${clock(stretch[1], true)}`));
      if (stretch[4]) lines.push(element("span", "quiet", stretch[4]));
    }
    if (!answers.length && this.data.lanes.length) lines.push(element("span", "quiet", "no speech"));
    const one = this.source.best(this.view).findLast(({ start, end }) => start <= at && at < end);
    if (one && band && (PANELS as string[]).includes(band.kind)) {
      const column = Math.floor(((at - one.start) / (one.end - one.start)) * one.nColumns);
      const hz = one.pitch[column] ?? NaN;
      if (band.kind === "spectrogram") lines.push(element("span", "", `at ${Math.round(hzAt(1 - (y - band.top) / band.height))} Hz`));
      lines.push(element("span", "", `pitch ${Number.isNaN(hz) ? "–" : `${Math.round(hz)} Hz`}`));
      lines.push(element("span", "", `loudness ${String(Math.round(one.loudness[column] ?? -90)).replace("-", "−")} dB`));
    }
    return lines;
  }

  // In words

  private describe(): void {
    const { name, seconds, lanes } = this.data;
    this.part.panel!.setAttribute("aria-label", `Player: ${name}`);
    this.part.total!.textContent = this.clock(seconds);
    this.stage.setAttribute("aria-valuemax", seconds.toFixed(1));
    const shares = lanes.map((lane) => `${lane.name ? `${lane.name}: ` : ""}${this.inWords(lane.stretches)}.`);
    this.part.summary!.textContent = `${name}, ${spokenClock(seconds)}. ${shares.join(" ")}`;
    const n = lanes.reduce((sum, { stretches }) => sum + stretches.length, 0);
    this.part["details-title"]!.textContent = n === 1 ? "The one stretch as a table" : `The ${n} stretches as a table`;
    this.part.details!.hidden = !n;
    for (const button of [this.part.previous!, this.part.next!]) button.hidden = n < 2;
    this.nowText = "";
    this.showTable();
    this.showState();
  }

  private inWords(stretches: Stretch[]): string {
    const seconds = new Map<string, number>();
    for (const [start, end, label] of stretches) seconds.set(label, (seconds.get(label) ?? 0) + end - start);
    const ranked = [...seconds].sort(([, one], [, other]) => other - one);
    return ranked.map(([label, time]) => `${label.replace("_", " ")} for ${spokenClock(time)}`).join(", ") || "no speech";
  }

  private showTable(): void {
    if (!(this.part.details as HTMLDetailsElement).open) return;
    const { lanes } = this.data;
    const [hasNames, hasNotes] = [lanes.some(({ name }) => name), lanes.some(({ stretches }) => stretches.some((one) => one[4]))];
    const columns = ["Time", ...(hasNames ? ["Who"] : []), "Emotion", "Confidence", ...(hasNotes ? ["Note"] : [])];
    const heads = columns.map((text) => {
      const head = element("th", "", text);
      head.setAttribute("scope", "col");
      return head;
    });
    this.part.head!.replaceChildren(...heads);
    const all = lanes.flatMap(({ name, stretches }) => stretches.map((stretch) => ({ name, stretch })));
    const rows = all.sort((one, other) => one.stretch[0] - other.stretch[0]).map(({ name, stretch }) => {
      const [start, end, label, confidence, note] = stretch;
      const row = element("tr");
      const play = element("button", "", `${clock(start, true)}–${clock(end, true)}`) as HTMLButtonElement;
      play.type = "button";
      play.setAttribute("aria-label", `Play from ${clock(start, true)}, to ${clock(end, true)}`);
      play.onclick = () => this.playFrom(start);
      const [time, emotion] = [element("td"), element("td", "", this.words([start, end, label, null, ""]))];
      time.append(play);
      emotion.prepend(this.swatch(label));
      row.append(time);
      if (hasNames) row.append(element("td", "", name));
      row.append(emotion, element("td", "", confidence === null ? "–" : percent(confidence)));
      if (hasNotes) row.append(element("td", "", note));
      return row;
    });
    this.part.rows!.replaceChildren(...rows);
  }
}

function element(name: string, className = "", text = ""): HTMLElement {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
}

const numbers = (colour: string): number[] => (colour.match(/[\d.]+/g) ?? ["0", "0", "0"]).slice(0, 3).map(Number);

/** `rgb(1, 2, 3)` as #rrggbb. */
const hex = (colour: string): string => `#${numbers(colour).map((v) => Math.round(v).toString(16).padStart(2, "0")).join("")}`;

const rgba = (colour: string, share: number): string => `rgba(${numbers(colour).join(", ")}, ${share})`;
