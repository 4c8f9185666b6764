// Validates the AsyncAPI description named on the command line; exits with 1 if anything in it is wrong.
import { readFileSync } from "node:fs";
import { Parser, DiagnosticSeverity } from "@asyncapi/parser";
import Ajv from "ajv";

const text = readFileSync(process.argv[2], "utf8");
const { document, diagnostics } = await new Parser().parse(text);
const errors = diagnostics
  .filter(({ severity }) => severity === DiagnosticSeverity.Error)
  .map(({ path, message }) => `${path.join("/")}: ${message}`);

// The parser does not hold examples to their schemas.
const description = JSON.parse(text);
const ajv = new Ajv({ strict: false }).addSchema(description, "description");
let examples = 0;
for (const [name, message] of Object.entries(description.components.messages)) {
  const valid = ajv.getSchema(`description${message.payload.$ref}`);
  for (const example of message.examples) {
    examples += 1;
    if (!valid(example.payload)) errors.push(`${name}, example ${example.name}: ${ajv.errorsText(valid.errors)}`);
  }
}

if (errors.length || !document || !examples) {
  console.error(errors.join("\n") || "nothing to validate");
  process.exit(1);
}
console.log(`${process.argv[2]}: valid, with ${document.allOperations().length} operations and ${examples} examples`);
