import { expect, test } from "vitest";
import { eventsIn } from "../src/events";

async function read(...pieces: (string | Uint8Array)[]): Promise<[string, string][]> {
  const encoder = new TextEncoder();
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(typeof piece === "string" ? encoder.encode(piece) : piece);
      controller.close();
    },
  });
  const found: [string, string][] = [];
  for await (const { name, data } of eventsIn(stream)) found.push([name, data]);
  return found;
}

test("events are read however the network cuts them", async () => {
  const text = 'event: tile\ndata: {"name": "ä.laz"}\n\n:\n\nevent: end\ndata: {}\n\n';
  const wanted = [["tile", '{"name": "ä.laz"}'], ["end", "{}"]];
  expect(await read(text)).toEqual(wanted);
  const bytes = new TextEncoder().encode(text);
  expect(await read(...[...bytes].map((byte) => new Uint8Array([byte])))).toEqual(wanted);
});

test("an event that is cut short is left out, lines of data are joined, and its name may be missing", async () => {
  expect(await read("data: a\ndata: b\n\nevent: end\ndata: {")).toEqual([["message", "a\nb"]]);
});
