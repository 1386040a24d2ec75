// The points of one job, one a step: those of the highest fencing token count.

const WEIGHT = 0.8; // of the past in the smoothed line

export class Series {
  constructor(rows = []) {
    this.rows = [];
    this.token = 0;
    for (const row of rows) this.add(...row);
  }

  // Steps come in order within an attempt. A later attempt takes its steps over from where it
  // begins; word of an earlier one changes nothing.
  add(step, value, token) {
    if (token < this.token || !Number.isFinite(value)) return;
    const last = this.rows.at(-1);
    if (token === this.token && last && step <= last[0] && last[2] === token) return;
    this.token = token;
    while (this.rows.length && this.rows.at(-1)[0] >= step) this.rows.pop();
    this.rows.push([step, value, token]);
  }

  // What a chart draws: steps, values, and values smoothed without a bias to the first.
  columns() {
    const steps = [], values = [], smooth = [];
    let mean = 0, weight = 0;
    for (const [step, value] of this.rows) {
      mean = WEIGHT * mean + (1 - WEIGHT) * value;
      weight = WEIGHT * weight + (1 - WEIGHT);
      steps.push(step);
      values.push(value);
      smooth.push(mean / weight);
    }
    return [steps, values, smooth];
  }
}
