// Reads an AsyncAPI document as others do, and prints what it complains of: node asyncapi.js FILE

import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const [file] = process.argv.slice(2);
const { document, diagnostics } = await new Parser().parse(readFileSync(file, "utf8"));
const complaints = diagnostics.map(({ message, path }) => `${path.join(".")}: ${message}`);
const messages = document ? document.messages().all().map((message) => message.name()) : [];
console.log(JSON.stringify({ complaints, messages }));
