import { expect, test } from "vitest";
import { type Block, type Header, column, value } from "../src/header";
import { readView } from "../src/stream";
import { HEADER, joined, viewFile } from "./samples";

/** Reads `file` as it arrives in pieces of `size` bytes. */
async function read(file: Uint8Array, size: number) {
  const headers: Header[] = [];
  const blocks: Block[] = [];
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < file.length; at += size) controller.enqueue(file.slice(at, at + size));
      controller.close();
    },
  });
  const kept = await readView(stream, { header: (header) => headers.push(header), block: (block) => blocks.push(block) });
  return { headers, blocks, kept };
}

test.each([1, 7, 64, 1 << 20])("a view file is read from pieces of %d bytes", async (size) => {
  const file = viewFile();
  const { headers, blocks, kept } = await read(file, size);
  expect(headers).toEqual([HEADER]);
  expect(blocks.map(({ num_points }) => num_points)).toEqual([2, 1]);
  expect([...blocks[0].columns.position]).toEqual([0, 0, 0, 2, 4, 10]);
  expect([...blocks[0].columns.label]).toEqual([0, 1]);
  expect([...blocks[1].columns.reference]).toEqual([2]);
  expect(new Uint8Array(await kept.arrayBuffer())).toEqual(file);
});

test("stored numbers become true ones by step and offset of each axis", () => {
  const position = column(HEADER, "position");
  expect(position && [value(position, 2, 0), value(position, 4, 1), value(position, 10, 2)]).toEqual([101, 202, 1]);
  expect(value({ name: "confidence", type: "uint8", components: 1, step: 0.5 }, 3)).toBe(1.5);
});

test("what is no view file, cut short or too long is refused", async () => {
  const file = viewFile();
  await expect(read(joined([new Uint8Array(1), file]), 64)).rejects.toThrow("not a view file");
  await expect(read(file.slice(0, -1), 64)).rejects.toThrow("cut short");
  await expect(read(joined([file, new Uint8Array(1)]), 64)).rejects.toThrow("longer than it says");
});
