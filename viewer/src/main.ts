/** Puts the page together. */

import { by, make, show } from "./dom";
import { startDrop } from "./drop";
import { Jobs, largestWithJobs } from "./jobs";
import { type Command, startKeys } from "./keys";
import { Session } from "./session";
import { startTheme, switchTheme } from "./theme";
import { Viewer } from "./viewer";

function start(): void {
  startTheme();
  const viewer = new Viewer();
  const session = new Session(viewer);
  const largest = largestWithJobs();
  const jobs = largest === null ? null : new Jobs(session, largest);
  startDrop((files) => void (jobs ?? session).openFiles(files));
  startKeys([
    ["home", "Home", "the whole cloud", () => viewer.navigator.whole()],
    ["o", "O", "open files", () => by("file").click()],
    ["g", "G", "orbit or walk", () => viewer.navigate(viewer.navigator.mode === "orbit" ? "walk" : "orbit")],
    ["c", "C", "next way of coloring", () => viewer.colors.next()],
    ["[1-9]", "1 – 9", "hide or show a class", (event) => viewer.toggleClass(Number(event.key) - 1)],
    ["0", "0", "show all classes", () => viewer.showAll()],
    ["v", "V", "next way of comparing with the file", () => viewer.nextComparison()],
    ["p", "P", "read the point in the middle", () => viewer.probe.pickMiddle()],
    ["m", "M", "measure", () => by("measure").click()],
    ["t", "T", "dark or light", () => switchTheme()],
    ...(jobs ? [["j", "J", "map of the job, or the cloud", () => jobs.toggleMap()] satisfies Command] : []),
    ["escape", "Esc", "close what was picked or measured", () => (jobs?.isMapShown ? jobs.toggleMap() : viewer.probe.leave())],
  ]);
  void session.start();
}

try {
  start();
} catch (error) {
  const text = `The picture cannot be drawn here: ${(error as Error).message} This page needs WebGL 2; the service itself does not.`;
  by("problem").replaceChildren(make("p", {}, text));
  show(by("problem"), true);
}
