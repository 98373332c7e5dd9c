import { expect, test } from "vitest";
import { events } from "./sse";

async function read(pieces: (string | Uint8Array)[]): Promise<string[]> {
  const encoder = new TextEncoder();
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(typeof piece === "string" ? encoder.encode(piece) : piece);
      controller.close();
    },
  });
  const all: string[] = [];
  for await (const data of events(stream)) all.push(data);
  return all;
}

test("events are found however the bytes are cut", async () => {
  const text = "data: one\n\n: a comment\n\ndata: zwei ☕\r\n\r\ndata: three\ndata: lines\n\n";
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 2, 3, 7, bytes.length]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.slice(i * size, (i + 1) * size));
    expect(await read(pieces), `pieces of ${size}`).toEqual(["one", "zwei ☕", "three\nlines"]);
  }
});

test("an event that was cut off is not given out", async () => {
  expect(await read(["data: whole\n\ndata: ha"])).toEqual(["whole"]);
});
