// Numbers as people read them, as `clock` and `percent` of speech_emotion.formats.picture write them.

/** `45:18`, from an hour on `1:02:03`; with tenths `45:18.2`. */
export function clock(seconds: number, tenths = false): string {
  const unit = tenths ? 10 : 1;
  const whole = tenths ? Math.round(seconds * unit) : Math.floor(seconds + 1e-6);
  const rest = whole % (60 * unit);
  const minutes = Math.floor(whole / (60 * unit));
  const last = tenths ? `${pad(Math.floor(rest / 10))}.${rest % 10}` : pad(rest);
  return minutes < 60 ? `${minutes}:${last}` : `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${last}`;
}

/** `1 hour 2 minutes 3 seconds`, for screen readers. */
export function spokenClock(seconds: number): string {
  const whole = Math.floor(seconds + 1e-6);
  const parts: [number, string][] = [
    [Math.floor(whole / 3600), "hour"], [Math.floor(whole / 60) % 60, "minute"], [whole % 60, "second"],
  ];
  const said = parts.filter(([n]) => n).map(([n, unit]) => `${n} ${unit}${n === 1 ? "" : "s"}`);
  return said.join(" ") || "0 seconds";
}

/** `42 %`; 0 and 100 % only for exactly 0 and 1. */
export function percent(share: number): string {
  if (share > 0 && share < 0.005) return "< 1 %";
  if (share > 0.995 && share < 1) return "> 99 %";
  return `${Math.round(100 * share)} %`;
}

const pad = (n: number): string => String(n).padStart(2, "0");
