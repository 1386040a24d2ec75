// The loss chart. Its colours are the page's own, so that it follows light and dark.
import uPlot from "../vendor/uplot.js";

const HEIGHT = 260;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class LossChart {
  constructor(host) {
    this.host = host;
    this.data = [[], [], []];
    this.drawn = 0;
    this.make();
    new ResizeObserver(() => this.fit()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.make());
  }

  make() {
    this.plot?.destroy();
    this.plot = new uPlot(options(this.width()), this.data, this.host);
  }

  width() {
    return Math.max(240, this.host.clientWidth);
  }

  fit() {
    if (this.host.clientWidth && this.plot.width !== this.width()) {
      this.plot.setSize({ width: this.width(), height: HEIGHT });
    }
  }

  // Drawn at most once a frame, whatever comes.
  show(data) {
    this.data = data;
    cancelAnimationFrame(this.drawn);
    this.drawn = requestAnimationFrame(() => this.plot.setData(data));
  }
}

// Distances between the marks of an axis of steps: there is no half a step.
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5];

function options(width) {
  const ink = css("--ink-soft"), line = css("--line"), accent = css("--accent"), faint = css("--faint");
  const font = `12px ${css("--sans")}`;
  const axis = { stroke: ink, font, labelFont: font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
  const said = (_, value) => (value == null ? "–" : value.toFixed(3));
  return {
    width,
    height: HEIGHT,
    padding: [12, 8, 0, 0],
    scales: { x: { time: false } },
    cursor: { points: { size: 7 }, drag: { x: true, y: false } },
    legend: { live: true },
    axes: [
      { ...axis, label: "step", incrs: WHOLE, labelSize: 20, size: 34, gap: 6 },
      { ...axis, size: 48, gap: 6, values: (_, ticks) => ticks.map((tick) => String(+tick.toFixed(3))) },
    ],
    series: [
      { label: "step" },
      { label: "loss", stroke: faint, width: 1, points: { show: false }, value: said },
      { label: "smoothed", stroke: accent, width: 2.5, points: { show: false }, value: said },
    ],
  };
}
