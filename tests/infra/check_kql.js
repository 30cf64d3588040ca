// Reads every query of infra/monitoring as the service will: its language (Microsoft's own parser) and, over the columns
// of kql_tables.json, its meaning. Run by `make infra-check`. Arguments: files, .kql or a workbook's .json.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const service = path.dirname(require.resolve("@kusto/language-service-next/package.json"));
require(path.join(service, "bridge.min.js"));
require(path.join(service, "Kusto.Language.Bridge.min.js"));
const { KustoCode, GlobalState, Symbols } = globalThis.Kusto.Language;

const { everywhere, tables } = JSON.parse(fs.readFileSync(path.join(__dirname, "kql_tables.json"), "utf8"));
const symbols = Object.entries(tables).map(
  ([name, columns]) => new Symbols.TableSymbol.$ctor7(name, `(${columns}, ${everywhere})`, null),
);
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor("workspace", symbols));

/** The queries of a file, each with where it stands. */
function queriesOf(file) {
  const text = fs.readFileSync(file, "utf8");
  if (file.endsWith(".kql")) return [[file, text]];
  const found = [];
  const visit = (node) => {
    if (node === null || typeof node !== "object") return;
    if (node.version === "KqlItem/1.0") found.push([`${file}: ${node.title}`, withoutParameters(node.query)]);
    Object.values(node).forEach(visit);
  };
  visit(JSON.parse(text));
  return found;
}

/** A workbook puts values in the place of its parameters; any that fits will do here. */
function withoutParameters(query) {
  return query.replaceAll("{TimeRange:grain}", "5m");
}

function problemsOf(query) {
  const diagnostics = KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  return Array.from({ length: diagnostics.Count }, (_, i) => diagnostics.getItem(i))
    .filter((each) => each.Severity === "Error")
    .map((each) => `line ${query.slice(0, each.Start).split("\n").length}: ${each.Message}`);
}

const queries = process.argv.slice(2).flatMap(queriesOf);
const problems = queries.flatMap(([where, query]) => problemsOf(query).map((each) => `${where}: ${each}`));
problems.forEach((each) => console.log(each));
console.log(`queries: ${queries.length}: ${problems.length} problems`);
process.exit(problems.length > 0 || queries.length === 0 ? 1 : 0);
