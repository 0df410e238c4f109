// The pictures. In: data, view and theme. Out: pixels of a canvas, and where each thing is for the pointer.

import type { Closeup, Data, Lane, Stretch } from "./data.js";
import { clock, percent } from "./format.js";
import type { View } from "./view.js";

export interface Theme {
  ink: string;
  quiet: string;
  line: string;
  wave: string;
  font: string;
  isDark: boolean;
}

export type Panel = "spectrogram" | "pitch" | "loudness";

/** A stripe of the picture: from top, height in pixels. */
export interface Band {
  kind: "axis" | "title" | "wave" | "row" | Panel;
  top: number;
  height: number;
  text: string;
  channel: number; // of a wave
  lane: number; // of a row
  label: string; // of a row
}

export interface Layout {
  bands: Band[];
  left: number; // where time begins
  width: number; // of all
  height: number;
}

export const RIGHT = 8; // pixels beside the end of the sound
const HEIGHTS = { axis: 24, title: 24, wave: 64, row: 22, spectrogram: 112, pitch: 72, loudness: 48 };
const TITLES = { spectrogram: "Spectrogram (Hz)", pitch: "Pitch (Hz)", loudness: "Loudness (dB)" };
const LOW_HZ = 50;
const HIGH_HZ = 8000;
export const PITCH_HZ: [number, number] = [60, 500];
const LOUDNESS_DB: [number, number] = [-70, 0];
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
const MAPS = { // from quiet to loud
  light: [[255, 255, 255], [214, 228, 245], [135, 174, 221], [66, 113, 184], [38, 59, 130], [20, 16, 60]],
  dark: [[14, 17, 23], [49, 18, 79], [122, 28, 109], [187, 55, 84], [237, 105, 37], [252, 181, 25], [252, 255, 164]],
};

/** Where everything stands. Each lane follows its channel, if there are as many; else all follow the waveforms. */
export function layOut(data: Data, panels: Panel[], width: number): Layout {
  const bands: Band[] = [];
  let top = 0;
  const add = (kind: Band["kind"], more: Partial<Band> = {}): void => {
    bands.push({ kind, top, height: HEIGHTS[kind], text: "", channel: 0, lane: 0, label: "", ...more });
    top += HEIGHTS[kind];
  };
  const addLane = (lane: Lane, index: number): void => {
    const present = new Set(lane.stretches.map(([, , label]) => label));
    for (const { id, text } of data.labels) if (present.has(id)) add("row", { lane: index, label: id, text });
    top += 6;
  };
  add("axis");
  const isPaired = data.lanes.length === data.channels.length;
  data.channels.forEach((name, channel) => {
    const lane = isPaired ? data.lanes[channel] : undefined;
    if (lane?.name || name) add("title", { text: lane?.name || name });
    add("wave", { channel });
    top += 4;
    if (lane) addLane(lane, channel);
  });
  if (!isPaired)
    data.lanes.forEach((lane, index) => {
      if (lane.name) add("title", { text: lane.name });
      addLane(lane, index);
    });
  for (const panel of panels) {
    add("title", { text: TITLES[panel] });
    add(panel);
    top += 4;
  }
  return { bands, left: width < 480 ? 74 : 102, width, height: top };
}

export class Painter {
  private readonly images = new WeakMap<Closeup, HTMLCanvasElement>();
  private brush!: CanvasRenderingContext2D;
  private layout!: Layout;
  private view!: View;
  private theme!: Theme;

  constructor(private readonly data: Data) {}

  x(seconds: number, { left, width }: Layout = this.layout, view: View = this.view): number {
    return left + ((seconds - view.start) / view.span) * (width - left - RIGHT);
  }

  time(x: number, { left, width }: Layout, view: View): number {
    return view.start + ((x - left) / (width - left - RIGHT)) * view.span;
  }

  paint(canvas: HTMLCanvasElement, layout: Layout, view: View, theme: Theme, peaks: Int8Array | null, closeups: Closeup[]): void {
    [this.layout, this.view, this.theme] = [layout, view, theme];
    this.brush = prepared(canvas, layout.width, layout.height);
    this.brush.font = `12px ${theme.font}`;
    this.brush.textBaseline = "middle";
    for (const band of layout.bands) {
      if (band.kind === "axis") this.axis(band);
      if (band.kind === "title") this.title(band);
      if (band.kind === "wave") this.wave(band, peaks, closeups);
      if (band.kind === "row") this.row(band);
      if (band.kind === "spectrogram") this.spectrogram(band, closeups);
      if (band.kind === "pitch") this.pitch(band, closeups);
      if (band.kind === "loudness") this.loudness(band, closeups);
    }
  }

  /** The whole sound in a strip: in each moment the colour of each lane's emotion. */
  paintMap(canvas: HTMLCanvasElement, theme: Theme): void {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const brush = prepared(canvas, width, height);
    brush.fillStyle = theme.line;
    brush.fillRect(0, 0, width, height);
    const each = height / Math.max(1, this.data.lanes.length);
    this.data.lanes.forEach(({ stretches }, lane) => {
      for (const [start, end, label] of stretches) {
        brush.fillStyle = this.colour(label);
        const left = (start / this.data.seconds) * width;
        brush.fillRect(left, lane * each, Math.max(1, (end / this.data.seconds) * width - left), each);
      }
    });
  }

  colour(label: string): string {
    return this.data.labels.find(({ id }) => id === label)?.colour ?? "#888888";
  }

  private get plot(): [number, number] {
    return [this.layout.left, this.layout.width - RIGHT - this.layout.left];
  }

  private text(text: string, x: number, y: number, align: CanvasTextAlign, colour: string, style = "12px", widest?: number): void {
    this.brush.font = `${style} ${this.theme.font}`;
    this.brush.textAlign = align;
    this.brush.fillStyle = colour;
    this.brush.fillText(text, x, y, widest);
  }

  /** A unit that would reach into the plot, where the cursor crosses it, is left out. */
  private title({ top, text }: Band): void {
    this.brush.font = `600 12px ${this.theme.font}`;
    const fits = this.brush.measureText(text).width < this.layout.left;
    this.text(fits ? text : text.replace(/ \((Hz|dB)\)$/, ""), 0, top + 14, "left", this.theme.ink, "600 12px");
  }

  private axis({ top, height }: Band): void {
    const [left, width] = this.plot;
    const step = STEPS.find((one) => (one / this.view.span) * width > 70) ?? 14400;
    const bottom = this.layout.height;
    for (let n = Math.ceil(this.view.start / step - 1e-6); n * step <= this.view.end + 1e-6; n++) {
      const x = Math.round(this.x(n * step)) + 0.5;
      this.line(x, top + height - 5, x, bottom, this.theme.line);
      const text = step < 0.1 ? (n * step).toFixed(2) : clock(n * step, step < 1);
      const half = this.brush.measureText(text).width / 2;
      if (x < left + half + 6) this.text(text, x + 6, top + 10, "left", this.theme.quiet); // beside the cursor's head
      else this.text(text, Math.min(x, left + width + RIGHT - half), top + 10, "center", this.theme.quiet);
    }
  }

  private wave({ top, height, channel }: Band, whole: Int8Array | null, closeups: Closeup[]): void {
    const [left, width] = this.plot;
    const middle = top + height / 2;
    this.line(left, Math.round(middle) + 0.5, left + width, Math.round(middle) + 0.5, this.theme.line);
    const fine = closeups.findLast(({ nPeaks, start, end }) => nPeaks && start <= this.view.start && end >= this.view.end);
    const peaks = fine?.peaks ?? whole;
    if (!peaks) return;
    const n = peaks.length / 2 / this.data.channels.length;
    const start = fine?.start ?? 0;
    const perSecond = fine ? n / (fine.end - fine.start) : 1 / this.data.peak_seconds;
    const scale = window.devicePixelRatio;
    const nPixels = Math.round(width * scale);
    this.brush.fillStyle = this.theme.wave;
    for (let pixel = 0; pixel < nPixels; pixel++) {
      const from = (this.view.start + (pixel / nPixels) * this.view.span - start) * perSecond;
      const to = Math.min(n, Math.max(from + 1, from + (this.view.span / nPixels) * perSecond));
      let [low, high] = [127, -127];
      for (let column = Math.floor(from); column < to; column++) {
        low = Math.min(low, peaks[2 * (channel * n + column)] ?? 0);
        high = Math.max(high, peaks[2 * (channel * n + column) + 1] ?? 0);
      }
      if (high < low) continue;
      const tall = Math.max(((high - low) / 254) * height, 1 / scale);
      this.brush.fillRect(left + pixel / scale, middle - (high / 254) * height, 1 / scale, tall);
    }
  }

  private row({ top, height, text, lane, label }: Band): void {
    const [left, width] = this.plot;
    const middle = top + height / 2;
    this.brush.fillStyle = this.colour(label);
    this.box(0, middle - 5, 10, 10, 2);
    this.text(text, 15, middle + 1, "left", this.theme.ink, "12px", left - 20);
    this.line(left, Math.round(middle) + 0.5, left + width, Math.round(middle) + 0.5, this.theme.line);
    this.brush.save();
    this.brush.beginPath();
    this.brush.rect(left, top, width, height);
    this.brush.clip();
    for (const stretch of this.data.lanes[lane]?.stretches ?? []) if (stretch[2] === label) this.bar(stretch, top, height);
    this.brush.restore();
  }

  private bar([start, end, label, confidence]: Stretch, top: number, height: number): void {
    const [left, right] = [this.x(start), this.x(end)];
    if (right < this.layout.left || left > this.layout.width) return;
    const wide = Math.max(2, right - left - 1);
    this.brush.fillStyle = this.colour(label);
    this.brush.globalAlpha = confidence === null ? 0.5 : 1; // not sure
    this.box(left, top + 2, wide, height - 4, 4);
    this.brush.globalAlpha = 1;
    const from = Math.max(left, this.layout.left);
    const space = Math.min(left + wide, this.layout.width - RIGHT) - from - 12;
    const share = confidence === null ? "" : percent(confidence);
    const name = this.data.labels.find(({ id }) => id === label)?.text ?? label;
    this.brush.font = `600 11px ${this.theme.font}`;
    const text = [`${name} ${share}`.trim(), share].find((one) => one && this.brush.measureText(one).width <= space);
    const ink = confidence === null ? this.theme.ink : onColour(this.colour(label));
    if (text) this.text(text, from + 6, top + height / 2 + 1, "left", ink, "600 11px");
  }

  private spectrogram(band: Band, closeups: Closeup[]): void {
    const [left, width] = this.plot;
    const { top, height } = band;
    this.clipped(band, () => {
      this.brush.fillStyle = `rgb(${this.map[0]!.join()})`;
      this.brush.fillRect(left, top, width, height);
      const enough = closeups.lastIndexOf(this.finest(closeups)!); // what is coarser lies below it
      for (const one of closeups.slice(Math.max(0, enough))) {
        const x = this.x(one.start);
        this.brush.drawImage(this.image(one), x, top, this.x(one.end) - x, height);
      }
    });
    if (!closeups.length) this.text("Loading …", left + 8, top + height / 2, "left", this.theme.quiet);
    for (const hz of [100, 500, 1000, 2000, 4000]) this.tick(hz < 1000 ? String(hz) : `${hz / 1000}k`, top + height * (1 - melShare(hz)));
    this.frame(band);
  }

  private pitch(band: Band, closeups: Closeup[]): void {
    const { top, height } = band;
    const [low, high] = PITCH_HZ.map(Math.log) as [number, number];
    const y = (hz: number): number => top + height * (1 - (Math.log(hz) - low) / (high - low));
    for (const hz of [100, 200, 400]) this.tick(String(hz), y(hz), true);
    this.frame(band);
    const one = this.finest(closeups);
    if (!one) return;
    this.clipped(band, () => {
      this.brush.fillStyle = this.theme.ink;
      this.brush.strokeStyle = this.theme.ink;
      this.brush.lineWidth = 2;
      this.brush.lineJoin = this.brush.lineCap = "round";
      this.brush.beginPath();
      const step = (one.end - one.start) / one.nColumns;
      let last = NaN;
      one.pitch.forEach((hz, column) => {
        const x = this.x(one.start + (column + 0.5) * step);
        const isNear = step < 0.06 && Math.abs(Math.log(hz / last)) < 0.2;
        if (isNear) this.brush.lineTo(x, y(hz));
        else if (!Number.isNaN(hz)) {
          this.brush.moveTo(x, y(hz));
          this.brush.lineTo(x, y(hz) + 0.01);
        }
        last = hz;
      });
      this.brush.stroke();
    });
  }

  private loudness(band: Band, closeups: Closeup[]): void {
    const { top, height } = band;
    const [low, high] = LOUDNESS_DB;
    const y = (decibels: number): number => top + height * (1 - Math.max(0, (decibels - low) / (high - low)));
    for (const decibels of [-50, -20]) this.tick(String(decibels).replace("-", "−"), y(decibels), true);
    this.frame(band);
    const one = this.finest(closeups);
    if (!one) return;
    this.clipped(band, () => {
      const step = (one.end - one.start) / one.nColumns;
      this.brush.beginPath();
      this.brush.moveTo(this.x(one.start), top + height);
      one.loudness.forEach((decibels, column) => this.brush.lineTo(this.x(one.start + (column + 0.5) * step), y(decibels)));
      this.brush.lineTo(this.x(one.end), top + height);
      this.brush.fillStyle = this.theme.wave;
      this.brush.globalAlpha = 0.55;
      this.brush.fill();
    });
  }

  /** The finest that covers the view. */
  private finest(closeups: Closeup[]): Closeup | undefined {
    return closeups.findLast(({ start, end }) => start <= this.view.start + 1e-6 && end >= this.view.end - 1e-6);
  }

  private clipped({ top, height }: Band, draw: () => void): void {
    const [left, width] = this.plot;
    this.brush.save();
    this.brush.beginPath();
    this.brush.rect(left, top, width, height);
    this.brush.clip();
    draw();
    this.brush.restore();
  }

  private frame({ top, height }: Band): void {
    const [left, width] = this.plot;
    this.brush.strokeStyle = this.theme.line;
    this.brush.lineWidth = 1;
    this.brush.strokeRect(left + 0.5, Math.round(top) + 0.5, width - 1, height - 1);
  }

  private tick(text: string, y: number, isLong = false): void {
    const [left, width] = this.plot;
    this.text(text, left - 8, y, "right", this.theme.quiet);
    this.line(left - 4, Math.round(y) + 0.5, isLong ? left + width : left, Math.round(y) + 0.5, this.theme.line);
  }

  private line(x1: number, y1: number, x2: number, y2: number, colour: string): void {
    this.brush.strokeStyle = colour;
    this.brush.lineWidth = 1;
    this.brush.beginPath();
    this.brush.moveTo(x1, y1);
    this.brush.lineTo(x2, y2);
    this.brush.stroke();
  }

  private box(x: number, y: number, width: number, height: number, radius: number): void {
    this.brush.beginPath();
    this.brush.roundRect(x, y, width, height, Math.min(radius, width / 2));
    this.brush.fill();
  }

  private get map(): number[][] {
    return this.theme.isDark ? MAPS.dark : MAPS.light;
  }

  /** The spectrogram of a closeup in its own resolution, coloured once. */
  private image(one: Closeup): HTMLCanvasElement {
    const known = this.images.get(one);
    if (known && known.dataset.isDark === String(this.theme.isDark)) return known;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [one.nColumns, one.nBands];
    canvas.dataset.isDark = String(this.theme.isDark);
    const brush = canvas.getContext("2d")!;
    const image = brush.createImageData(one.nColumns, one.nBands);
    const colours = Array.from({ length: 256 }, (_, shade) => blend(this.map, shade / 255));
    one.spectrogram.forEach((shade, at) => image.data.set(colours[shade]!, 4 * at));
    brush.putImageData(image, 0, 0);
    this.images.set(one, canvas);
    return canvas;
  }
}

/** A canvas with as many pixels as the screen has, cleared; its unit is a CSS pixel. */
function prepared(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const scale = window.devicePixelRatio;
  const [nX, nY] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== nX || canvas.height !== nY) [canvas.width, canvas.height] = [nX, nY];
  const brush = canvas.getContext("2d")!;
  brush.setTransform(scale, 0, 0, scale, 0, 0);
  brush.clearRect(0, 0, width, height);
  return brush;
}

const slaney = (hz: number): number => (hz < 1000 ? (hz * 3) / 200 : 15 + (Math.log(hz / 1000) * 27) / Math.log(6.4));

/** How high in the spectrogram a frequency stands, 0 to 1. */
const melShare = (hz: number): number => (slaney(hz) - slaney(LOW_HZ)) / (slaney(HIGH_HZ) - slaney(LOW_HZ));

/** The frequency at a share of the spectrogram's height. */
export function hzAt(share: number): number {
  const mel = slaney(LOW_HZ) + share * (slaney(HIGH_HZ) - slaney(LOW_HZ));
  return mel < 15 ? (mel * 200) / 3 : 1000 * Math.exp(((mel - 15) * Math.log(6.4)) / 27);
}

function blend(stops: number[][], share: number): number[] {
  const place = share * (stops.length - 1);
  const index = Math.min(Math.floor(place), stops.length - 2);
  const [from, to] = [stops[index]!, stops[index + 1]!];
  return [...from.map((value, i) => value + (to[i]! - value) * (place - index)), 255];
}

/** Black or white, whichever is easier to read on `colour`, #rrggbb. */
export function onColour(colour: string): string {
  return luminance(colour) > 0.179 ? "#000000" : "#ffffff";
}

export function luminance(colour: string): number {
  const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
  const [red, green, blue] = parts.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
