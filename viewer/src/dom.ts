/** Small helpers over the document; texts only ever become text nodes. */

export function by<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found as unknown as T;
}

type Child = Node | string;

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

export function show(element: HTMLElement, visible: boolean): void {
  element.hidden = !visible;
}

export function press(button: Element, pressed: boolean): void {
  button.setAttribute("aria-pressed", String(pressed));
}

export function options(select: HTMLSelectElement, values: [value: string, text: string][]): void {
  select.replaceChildren(...values.map(([value, text]) => make("option", { value }, text)));
}
