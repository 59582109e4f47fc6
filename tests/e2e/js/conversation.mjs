// A conversation over standard input and output: a line of JSON asks, a line of JSON answers.
//
// `actions` are functions by name; `{"do": name, ...}` calls one. What a library throws is an answer too, so that a test
// can say what the client made of a refusal.
import { createInterface } from 'node:readline';

const describe = (error) => ({
  name: error.name,
  code: error.code,
  message: error.message,
  error: error.error ?? error.cause?.error,
  status: error.status ?? error.cause?.status,
  challenges: Array.isArray(error.cause) ? error.cause : undefined,
});

export async function converse(actions) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: name, ...asked } = JSON.parse(line);
    let answer;
    try {
      answer = { answer: (await actions[name](asked)) ?? null };
    } catch (error) {
      answer = { refused: describe(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

export async function readResponse(response) {
  const text = await response.text();
  const type = response.headers.get('content-type') ?? '';
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: /\bjson\b/.test(type) ? JSON.parse(text) : text,
  };
}
