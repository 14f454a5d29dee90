// Uploading one scan. It uses XMLHttpRequest, because fetch does not report how much was sent.

import { Problem, readProblem, UNREACHABLE } from "./api.js";
import { connection } from "./connection.js";

/** Returns an idempotency key: with it, sending the same scan again creates no second job. */
export function newKey() {
  // randomUUID does not exist if the page came over plain HTTP from another machine
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Sends `files`, a File for each field, and returns `{ job, abort }`: a promise of the job, which
 * is rejected with a `Problem` or, once aborted, an AbortError. `onProgress` gets the
 * sent fraction, from 0 to 1.
 */
export function uploadScan({ files, model, priority, key }, onProgress) {
  const request = new XMLHttpRequest();
  const job = new Promise((resolve, reject) => {
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      connection.update(true);
      if (request.status === 202 || request.status === 200) {
        resolve(JSON.parse(request.responseText));
      } else {
        reject(readProblem(request.status, request.responseText));
      }
    });
    request.addEventListener("error", () => {
      connection.update(false);
      reject(new Problem(UNREACHABLE));
    });
    request.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
  });
  const query = new URLSearchParams({ model, priority });
  request.open("POST", `/jobs?${query}`);
  request.setRequestHeader("Idempotency-Key", key);
  const form = new FormData();
  for (const [field, file] of Object.entries(files)) form.append(field, file);
  request.send(form);
  return { job, abort: () => request.abort() };
}
