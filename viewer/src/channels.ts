/** Which column of the file feeds which channel; what is chosen is written as pairs into the text of the columns. */

import { by, make, options, show } from "./dom";
import type { FileColumn } from "./header";

interface Group {
  title: string;
  /** What models call it; '' for what only this page reads. */
  feature: string;
  channels: string[];
}

const GROUPS: Group[] = [
  { title: "Coordinates", feature: "coord", channels: ["x", "y", "z"] },
  { title: "Color", feature: "color", channels: ["red", "green", "blue"] },
  { title: "Strength", feature: "strength", channels: ["intensity"] },
  { title: "Normal", feature: "normal", channels: ["nx", "ny", "nz"] },
  { title: "Returns", feature: "returns", channels: ["return_number", "number_of_returns"] },
  { title: "The file's own classes and objects", feature: "", channels: ["classification", "segment", "instance"] },
];
const NOTHING = "_";

export class Channels {
  private box = by("channels");
  private selects = new Map<string, HTMLSelectElement>();
  private titles = new Map<Group, HTMLElement>();

  constructor(private text: HTMLInputElement) {
    for (const group of GROUPS) {
      const title = make("p", { className: "quiet" }, group.title);
      this.titles.set(group, title);
      this.box.append(title, ...group.channels.map((channel) => this.row(channel)));
    }
    this.text.addEventListener("change", () => this.read());
  }

  /** Let one choose among the columns that were read; none where they are not known. */
  offer(columns: FileColumn[]): void {
    this.list(columns, (channel) => columns.find(({ feeds }) => feeds.includes(channel))?.name ?? "none");
  }

  /** Let one choose among the columns of a file that could not be read; what it does not have is chosen no more. */
  ask(names: string[]): void {
    this.list(names.map((name) => ({ name, feeds: [] })), () => "");
    this.write();
  }

  /** Say which channels a model with these features does without. */
  mark(features: string[]): void {
    for (const [{ title, feature }, element] of this.titles) {
      const unread = feature !== "" && feature !== "coord" && !features.includes(feature);
      element.textContent = unread ? `${title} (not read by this model)` : title;
    }
  }

  private list(columns: FileColumn[], feeding: (channel: string) => string): void {
    const chosen = pairs(this.text.value);
    const isList = this.text.value.trim() !== "" && chosen.size === 0;
    show(this.box, columns.length > 0 && !isList);
    for (const [channel, select] of this.selects) {
      const told = chosen.has(channel) ? "" : feeding(channel);
      const usual = told ? `by its name: ${told}` : "by its name";
      const none: [string, string][] = "xyz".includes(channel) ? [] : [[NOTHING, "nothing"]];
      options(select, [["", usual], ...columns.map(({ name }): [string, string] => [name, name]), ...none]);
    }
    this.read();
  }

  private row(channel: string): HTMLLabelElement {
    const select = make("select", { onchange: () => this.write() });
    select.dataset.channel = channel;
    this.selects.set(channel, select);
    return make("label", {}, channel.replaceAll("_", " "), select);
  }

  private write(): void {
    const written = [...pairs(this.text.value)].filter(([channel]) => !this.selects.has(channel));
    const chosen = [...this.selects].map(([channel, select]): [string, string] => [channel, select.value]);
    this.text.value = [...chosen, ...written].flatMap(([channel, name]) => (name ? [`${channel}:${name}`] : [])).join(",");
  }

  private read(): void {
    const chosen = pairs(this.text.value);
    for (const [channel, select] of this.selects) {
      select.value = chosen.get(channel) ?? "";
      if (select.selectedIndex < 0) select.value = "";
    }
  }
}

/** The column by channel that `text` names as `channel:column,…`; empty for a list of names. */
function pairs(text: string): Map<string, string> {
  const parts = text.split(",").map((part) => part.trim()).filter((part) => part.includes(":"));
  return new Map(parts.map((part) => [part.slice(0, part.indexOf(":")).trim(), part.slice(part.indexOf(":") + 1).trim()]));
}
