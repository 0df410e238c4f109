// The part of the sound that is shown. Times in seconds.

const SHORTEST = 0.2; // seconds across the whole width

export class View {
  start = 0;
  end: number;

  constructor(readonly seconds: number) {
    this.end = seconds;
  }

  get span(): number {
    return this.end - this.start;
  }

  get isWhole(): boolean {
    return this.span >= this.seconds - 1e-9;
  }

  get isClosest(): boolean {
    return this.span <= Math.min(SHORTEST, this.seconds) + 1e-9;
  }

  shows(at: number): boolean {
    return at >= this.start && at <= this.end;
  }

  /** Show `factor` times as much; `at` stays where it is. */
  zoom(factor: number, at: number): void {
    const span = clamp(this.span * factor, Math.min(SHORTEST, this.seconds), this.seconds);
    const share = (at - this.start) / this.span;
    this.moveTo(at - share * span, span);
  }

  moveTo(start: number, span = this.span): void {
    this.start = clamp(start, 0, this.seconds - span);
    this.end = this.start + span;
  }

  fit(): void {
    this.moveTo(0, this.seconds);
  }
}

export const clamp = (value: number, low: number, high: number): number => Math.max(low, Math.min(high, value));
