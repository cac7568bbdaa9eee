// One answer of POST /v1/chat/completions as it comes.

import { NO_RESPONSE } from "../live.js";

const BROKEN_OFF = "The answer broke off: the connection to the server was lost.";

// What went wrong, in words.
export class Failure extends Error {}

// Yields { comment } and the chunks, as objects, until the answer is complete. Raises a Failure, or an AbortError
// once `signal` has ended it.
export async function* answerOf(request, signal) {
  const response = await ask(request, signal);
  let isComplete = false;
  for await (const line of lines(response.body)) {
    if (line.startsWith(":")) yield { comment: line.slice(1).trim() };
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Failure(words(chunk.error));
    isComplete ||= Boolean(chunk.choices?.[0]?.finish_reason);
    yield chunk;
  }
  if (!isComplete) throw new Failure(BROKEN_OFF);
}

async function ask(request, signal) {
  const headers = { "Content-Type": "application/json", Accept: "text/event-stream" };
  let response;
  try {
    const body = JSON.stringify({ ...request, stream: true });
    response = await fetch("/v1/chat/completions", { method: "POST", headers, body, signal });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Failure(NO_RESPONSE);
  }
  if (response.ok) return response;
  const failure = await response.json().catch(() => ({}));
  throw new Failure(words(failure.error) || `The server answers ${response.status} ${response.statusText}.`);
}

function words(error) {
  if (!error || typeof error === "string") return error ?? "";
  return [error.message, error.hint].filter(Boolean).join(" ");
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw error.name === "AbortError" ? error : new Failure(BROKEN_OFF);
      });
      if (done) return;
      const whole = (rest + value).split(/\r\n|[\r\n]/);
      rest = whole.pop();
      yield* whole;
    }
  } finally {
    reader.cancel().catch(() => {}); // it has ended, or nobody reads on
  }
}
