/** Takes a stream of the format `view` apart while it arrives. */

import { type Block, type Header, blockBytes, decodeBlock } from "./header";

const MAGIC = "PSVIEW\0\x01";
const PREFIX_BYTES = 12;

export interface Sink {
  header(header: Header): void;
  block(block: Block): void;
}

/** Whether `file` is an answer that was saved. */
export async function isView(file: Blob): Promise<boolean> {
  const mark = MAGIC.slice(0, MAGIC.indexOf("\0"));
  return (await file.slice(0, mark.length).text()) === mark;
}

/** Reads `stream` to its end; the bytes that were read. */
export async function readView(stream: ReadableStream<Uint8Array>, sink: Sink): Promise<Blob> {
  const source = new Source(stream.getReader());
  const prefix = new DataView(await source.take(PREFIX_BYTES));
  const magic = String.fromCharCode(...new Uint8Array(prefix.buffer, 0, MAGIC.length));
  if (magic !== MAGIC) throw new Error("This is not a view file.");
  const text = new TextDecoder().decode(await source.take(prefix.getUint32(MAGIC.length, true)));
  const header = JSON.parse(text) as Header;
  sink.header(header);
  for (let start = 0; start < header.num_shown; start += header.block_points) {
    const numPoints = Math.min(header.block_points, header.num_shown - start);
    const buffer = await source.take(blockBytes(header, numPoints));
    sink.block(decodeBlock(header, buffer, numPoints));
  }
  await source.end();
  return new Blob(source.taken);
}

/** Hands out exactly as many bytes as are asked for. */
class Source {
  taken: ArrayBuffer[] = [];
  private pending: Uint8Array[] = [];
  private available = 0;

  constructor(private reader: ReadableStreamDefaultReader<Uint8Array>) {}

  async take(size: number): Promise<ArrayBuffer> {
    while (this.available < size) {
      const { done, value } = await this.reader.read();
      if (done) throw new Error("The answer was cut short.");
      this.pending.push(value);
      this.available += value.length;
    }
    const out = new Uint8Array(size);
    let filled = 0;
    while (filled < size) {
      const part = this.pending[0].subarray(0, size - filled);
      out.set(part, filled);
      filled += part.length;
      if (part.length === this.pending[0].length) this.pending.shift();
      else this.pending[0] = this.pending[0].subarray(part.length);
    }
    this.available -= size;
    this.taken.push(out.buffer);
    return out.buffer;
  }

  async end(): Promise<void> {
    if (this.available > 0 || !(await this.reader.read()).done) throw new Error("The answer is longer than it says.");
  }
}
