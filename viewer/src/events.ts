/** Server-sent events from the body of an answer; EventSource tells no reason when it is refused. */

export interface ServerEvent {
  name: string;
  data: string;
}

/** The events in `stream` until it ends; comments are left out, and so is an event that was cut short. */
export async function* eventsIn(stream: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop()!;
      for (const block of blocks) {
        const event = parsed(block);
        if (event) yield event;
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

function parsed(block: string): ServerEvent | null {
  const lines = block.split("\n");
  const values = (field: string) => lines.filter((line) => line.startsWith(`${field}: `)).map((line) => line.slice(field.length + 2));
  const data = values("data");
  return data.length ? { name: values("event")[0] ?? "message", data: data.join("\n") } : null;
}
