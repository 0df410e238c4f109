// The emotion in a sound file, from a `speech-emotion serve`. Needs Node 18 or newer, and no package.
//
//   node predict.mjs clip.wav [http://127.0.0.1:8000] [KEY]

import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const [path, url = "http://127.0.0.1:8000", key] = process.argv.slice(2);
const headers = key ? { Authorization: `Bearer ${key}` } : {};

/** Send a request; again after Retry-After where the server is busy. Throws the problem document. */
async function ask(address, options = {}) {
  for (;;) {
    const response = await fetch(new URL(address, url), { headers, ...options });
    if (response.ok) return response;
    const problem = await response.json();
    const wait = response.headers.get("Retry-After");
    if (![429, 503].includes(response.status) || wait === null) {
      throw new Error(`${problem.detail} (${problem.code}, request ${problem.request_id})`);
    }
    await sleep(1000 * Number(wait));
  }
}

/** The answer on one sound; a long one becomes a job, which is waited for. */
async function predict(path) {
  const form = new FormData();
  form.append("file", new Blob([await readFile(path)]), basename(path));
  let response = await ask("/v1/predict", { method: "POST", body: form });
  if (response.status !== 202) return response.json();
  for (;;) {
    const job = await response.json();
    if (job.status === "COMPLETED") return job.result;
    if (job.status === "FAILED") throw new Error(`${job.problem.detail} (${job.problem.code})`);
    await sleep(1000 * Number(response.headers.get("Retry-After") ?? 1));
    response = await ask(job.url);
  }
}

try {
  const { label, confidence, abstained } = await predict(path);
  console.log(label ? `${label} ${confidence.toFixed(2)}` : `no answer (${abstained})`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
