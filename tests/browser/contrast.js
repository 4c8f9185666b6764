// Every visible text whose contrast with what is behind it is below 4.5, as WCAG 2 reckons it.
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const painted = (...layers) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const layer of layers) {
      canvas.fillStyle = layer;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const linear = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const luminance = (colour) => {
    const [red, green, blue] = colour.map((value) => linear(value / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (node) => {
    const behind = [];
    for (let at = node; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const tones = [painted(...behind), painted(...behind, getComputedStyle(node).color)].map(luminance);
    return (Math.max(...tones) + 0.05) / (Math.min(...tones) + 0.05);
  };
  const texts = [...document.querySelectorAll("body *")].filter(
    (node) =>
      [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim()) &&
      node.checkVisibility({ opacityProperty: true }) &&
      !node.closest(":disabled, option, .visually-hidden"),
  );
  return texts
    .filter((node) => contrast(node) < 4.5)
    .map((node) => `${node.outerHTML.slice(0, 80)} ${contrast(node).toFixed(2)}`);
};
