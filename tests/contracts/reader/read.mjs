import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
console.log(JSON.stringify({
  channels: document?.channels().all().length ?? 0,
  messages: document?.components().messages().all().length ?? 0,
  problems: diagnostics.filter((one) => one.severity < 2).map((one) => `${one.path.join(".")}: ${one.message}`),
}));
