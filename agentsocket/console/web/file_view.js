/** Files: those of the agent's, shown in place where a browser may, and those that went with a message. */

import { h, icon } from "./dom.js";
import { byteSize, textNodes, visible } from "./plain_text.js";

/**
 * @typedef {import("./agent_client.js").AgentFile} AgentFile
 * @typedef {{name: string, media_type?: string, size?: number, file_id?: string}} Sent
 */

/** As the server gives out to be shown; whatever else claims to be a picture is to be saved. */
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
/** Bytes of a file of which a small picture is made. */
const MOST = 30_000_000;
/** Height of a small picture, in pixels of the screen at most. */
const SMALL = 128;

/** @param {string} mediaType @returns {"img" | "audio" | "video" | ""} the element that shows it */
function shownBy(mediaType) {
  if (PICTURES.has(mediaType)) return "img";
  if (mediaType.startsWith("audio/")) return "audio";
  return mediaType.startsWith("video/") ? "video" : "";
}

/** @param {AgentFile} file @param {string} address @returns {HTMLElement} */
export function fileView(file, address) {
  const tag = shownBy(file.media_type);
  const caption = line(file, address);
  if (!tag) return h("div.file", {}, icon("file"), ...caption);
  const name = visible(file.name);
  const shown =
    tag === "img"
      ? h("img", { src: address, alt: name, decoding: "async" })
      : h(tag, { src: address, controls: true, preload: "metadata", "aria-label": name });
  const whole = tag === "img" ? h("a.whole", { href: address, target: "_blank", rel: "noreferrer" }, shown) : shown;
  const figure = h(`figure.shown.${tag}`, {}, whole, h("figcaption.file", {}, ...caption));
  shown.addEventListener("error", () => {
    figure.replaceWith(h("div.file.gone", {}, icon("file"), ...caption, h("span.why", {}, "It cannot be shown.")));
  });
  return figure;
}

/** @param {AgentFile} file @param {string} address */
function line({ name, size }, address) {
  const label = `Download ${visible(name)}`;
  return [
    h("bdi.name", {}, textNodes(name)),
    h("span.size", {}, byteSize(size)),
    h("a.save", { href: address, download: name, "aria-label": label, title: label }, icon("save")),
  ];
}

/** @param {Sent[]} files @param {(fileId: string) => Blob | undefined} find what this page still has of one */
export function sentFiles(files, find) {
  return h(
    "ul.sent-files",
    { "aria-label": "Attached files" },
    ...files.map(({ name, size, file_id = "" }) =>
      h(
        "li.attachment",
        {},
        emblem(find(file_id)),
        h("bdi.name", {}, textNodes(name)),
        size !== undefined && h("span.size", {}, byteSize(size)),
      ),
    ),
  );
}

/** @param {Blob | undefined} file @returns {HTMLElement} a small picture of it, or that of a sheet of paper */
export function emblem(file) {
  const element = h("span.emblem", { "aria-hidden": true }, icon("file"));
  if (file && PICTURES.has(file.type) && file.size < MOST)
    drawSmall(file).then(
      (small) => element.replaceChildren(small),
      () => {},
    );
  return element;
}

/**
 * Drawn rather than loaded from an address: pictures come from the server alone.
 * @param {Blob} file
 */
async function drawSmall(file) {
  const bitmap = await createImageBitmap(file, { resizeHeight: SMALL, resizeQuality: "medium" });
  const canvas = h("canvas", { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}
