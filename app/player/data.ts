// What the server sends: the document of player.document in __init__.py, and the bytes of routes.py.

export interface Label {
  id: string;
  text: string;
  colour: string;
}

/** Start and end in seconds, label, confidence, note. */
export type Stretch = [number, number, string, number | null, string];

export interface Lane {
  name: string;
  stretches: Stretch[];
}

export interface Data {
  name: string;
  url: string;
  seconds: number;
  channels: string[];
  peak_seconds: number;
  labels: Label[];
  lanes: Lane[];
}

/** A closer look at a part of the sound. */
export interface Closeup {
  start: number;
  end: number;
  nColumns: number;
  nBands: number;
  nPeaks: number; // per channel; 0 if the peaks of the whole sound are fine enough
  pitch: Float32Array;
  loudness: Float32Array;
  peaks: Int8Array; // (channel, column, minimum and maximum)
  spectrogram: Uint8Array; // (band, column), the highest band first
}

export async function fetchPeaks(url: string, signal: AbortSignal): Promise<Int8Array> {
  return new Int8Array(await bytes(`${url}/peaks`, signal));
}

export async function fetchCloseup(
  url: string, start: number, end: number, columns: number, channel: string, signal: AbortSignal, nChannels: number,
): Promise<Closeup> {
  const query = new URLSearchParams({ from: String(start), to: String(end), columns: String(columns), channel });
  const buffer = await bytes(`${url}/closeup?${query}`, signal);
  const sizes = new DataView(buffer);
  const [nColumns, nBands, nPeaks] = [0, 4, 8].map((at) => sizes.getInt32(at, true)) as [number, number, number];
  const afterCurves = 12 + 8 * nColumns;
  const nPeakBytes = 2 * nPeaks * nChannels;
  return {
    start, end, nColumns, nBands, nPeaks,
    pitch: new Float32Array(buffer, 12, nColumns),
    loudness: new Float32Array(buffer, 12 + 4 * nColumns, nColumns),
    peaks: new Int8Array(buffer, afterCurves, nPeakBytes),
    spectrogram: new Uint8Array(buffer, afterCurves + nPeakBytes),
  };
}

async function bytes(url: string, signal: AbortSignal): Promise<ArrayBuffer> {
  const answer = await fetch(url, { signal });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.arrayBuffer();
}
