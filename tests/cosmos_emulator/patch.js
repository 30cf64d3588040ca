"use strict";
// Partial document update, as documented: operations in order, all or none; a path that leads nowhere is a bad request.

const { refuse } = require("./errors");

const MAX_OPERATIONS = 10;

function parentOf(document, names, path) {
  let holder = document;
  for (const name of names) {
    const known = holder !== null && typeof holder === "object" && Object.hasOwn(holder, name);
    holder = known ? holder[name] : undefined;
  }
  if (holder === null || typeof holder !== "object") throw refuse(400, `the parent of ${path} is not there`);
  return holder;
}

function increment(holder, name, value, path) {
  if (typeof value !== "number") throw refuse(400, "an increment is a number");
  const before = Object.hasOwn(holder, name) ? holder[name] : 0;
  if (typeof before !== "number") throw refuse(400, `${path} is not a number`);
  holder[name] = before + value;
}

function inArray(array, name, op, value, path) {
  const index = op === "add" && name === "-" ? array.length : Number(name);
  const last = op === "add" ? array.length : array.length - 1;
  if (!/^(\d+|-)$/.test(name) || !(index <= last)) throw refuse(400, `${path} is out of bounds`);
  if (op === "remove") array.splice(index, 1);
  else if (op === "add") array.splice(index, 0, value);
  else if (op === "incr") increment(array, index, value, path);
  else array[index] = value;
}

function inObject(holder, name, op, value, path) {
  if ((op === "remove" || op === "replace") && !Object.hasOwn(holder, name)) throw refuse(400, `${path} is not there`);
  if (op === "remove") delete holder[name];
  else if (op === "incr") increment(holder, name, value, path);
  else holder[name] = value;
}

/** A changed copy of the document. `fixed`: the names of fields that no patch may touch. */
function applyPatch(document, operations, fixed) {
  if (!Array.isArray(operations) || operations.length === 0) throw refuse(400, "a patch has operations");
  if (operations.length > MAX_OPERATIONS) throw refuse(400, `a patch has at most ${MAX_OPERATIONS} operations`);
  const changed = structuredClone(document);
  for (const { op, path, value } of operations) {
    if (!["add", "set", "replace", "remove", "incr"].includes(op)) throw refuse(400, `unknown operation ${op}`);
    if (typeof path !== "string" || !path.startsWith("/") || path.length < 2) throw refuse(400, "a path begins with /");
    const names = path.slice(1).split("/").map((name) => name.replace(/~1/g, "/").replace(/~0/g, "~"));
    if (fixed.has(names[0])) throw refuse(400, `${path} cannot change`);
    const name = names.pop();
    const holder = parentOf(changed, names, path);
    (Array.isArray(holder) ? inArray : inObject)(holder, name, op, value, path);
  }
  return changed;
}

module.exports = { applyPatch };
