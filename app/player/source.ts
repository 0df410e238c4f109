// Peaks and closeups of one sound, fetched when they are needed and kept while it is shown.

import { type Closeup, type Data, fetchCloseup, fetchPeaks } from "./data.js";
import type { View } from "./view.js";
import { clamp } from "./view.js";

const WAIT_MS = 90; // after the last change of the view
const KEPT = 12; // closeups, the newest; about 100 kB each
const ENOUGH = 0.7; // of the columns that the view has
const FINEST = 140; // columns per second: ENOUGH of what the server computes at most
const AROUND = 0.5; // of the view on each side, so that a small move shows no gap

export class Source {
  peaks: Int8Array | null = null;
  private channel = "";
  private closeups: Closeup[] = [];
  private whole: Closeup | null = null;
  private readonly ended = new AbortController();
  private asked: { key: string; until: AbortController } | null = null; // the closeup asked for last
  private hasAskedWhole = false;
  private timer = 0;

  constructor(private readonly data: Data, private readonly changed: () => void, private readonly failed: (why: string) => void) {
    this.load(fetchPeaks(data.url, this.ended.signal), (peaks) => (this.peaks = peaks));
  }

  /** Analyse one channel, "0", "1" …, or the mean of all, "". */
  analyse(channel: string): void {
    this.channel = channel;
    this.closeups = [];
    this.whole = null;
    this.hasAskedWhole = false;
  }

  /** The closeups of what is shown, the finest last. */
  best(view: View): Closeup[] {
    const shown = this.closeups.filter(({ start, end }) => end > view.start && start < view.end);
    return [...(this.whole ? [this.whole] : []), ...shown.sort((one, other) => length(other) - length(one))];
  }

  /** Ask for what the view needs, once it rests. */
  want(view: View, width: number): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.ask(view, width), this.whole ? WAIT_MS : 0);
  }

  end(): void {
    clearTimeout(this.timer);
    this.asked?.until.abort();
    this.ended.abort();
  }

  private ask(view: View, width: number): void {
    const columns = clamp(Math.round(width), 200, 1400);
    const { seconds } = this.data;
    if (!this.hasAskedWhole) this.fetch(0, seconds, columns, this.ended, (found) => (this.whole = found));
    this.hasAskedWhole = true;
    if (view.isWhole || this.best(view).some((one) => this.isEnough(one, view, columns))) return;
    const [start, end] = [Math.max(0, view.start - AROUND * view.span), Math.min(seconds, view.end + AROUND * view.span)];
    const key = [start, end, columns, this.channel].join();
    if (this.asked?.key === key) return;
    this.asked?.until.abort();
    this.asked = { key, until: new AbortController() };
    const n = Math.round((columns * (end - start)) / view.span);
    this.fetch(start, end, n, this.asked.until, (found) => (this.closeups = [...this.closeups.slice(1 - KEPT), found]));
  }

  private isEnough(one: Closeup, view: View, columns: number): boolean {
    const needed = (ENOUGH * columns) / view.span; // columns per second
    const hasPeaks = columns / view.span <= 1 / this.data.peak_seconds || one.nPeaks / length(one) > needed;
    return one.start <= view.start && one.end >= view.end && one.nColumns / length(one) > Math.min(needed, FINEST) && hasPeaks;
  }

  private fetch(start: number, end: number, columns: number, until: AbortController, keep: (found: Closeup) => void): void {
    const { channel } = this;
    const { url, channels } = this.data;
    this.load(fetchCloseup(url, start, end, columns, channel, until.signal, channels.length), (found) => {
      if (channel === this.channel) keep(found);
    });
  }

  private load<T>(promise: Promise<T>, keep: (found: T) => void): void {
    promise.then(
      (found) => {
        keep(found);
        this.changed();
      },
      (error: Error) => {
        if (error.name !== "AbortError") this.failed(error.message);
      },
    );
  }
}

const length = ({ start, end }: Closeup): number => end - start;
