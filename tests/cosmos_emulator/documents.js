"use strict";
// The items of one container: what the emulator underneath gets wrong or lacks. Hierarchical keys, etags, TTL by a
// clock that a test can set, patches, transactional batches with the documented limits. Queries stay the emulator's.

const query = require("@zeit/cosmosdb-query").default;
const { refuse } = require("./errors");
const { applyPatch } = require("./patch");
const { effectiveKey } = require("./partition");

const MAX_BYTES = 2 * 1024 * 1024;
const MAX_BATCH = 100;
const MAX_TTL = 2 ** 31 - 1;
const SYSTEM = ["_rid", "_self", "_etag", "_ts", "_attachments"];
const SUCCESS = { Create: 201, Upsert: 200, Read: 200, Replace: 200, Delete: 204, Patch: 200 };
const UNITS = { Create: 5, Upsert: 10, Read: 1, Replace: 10, Delete: 5, Patch: 10 };

let versions = 0;
const kilobytes = (text) => Math.ceil(Buffer.byteLength(text) / 1024);

const reversed = ({ path, order }) => ({ path, order: order === "descending" ? "ascending" : "descending" });

class Documents {
  /** `definition`: the container as it was created; `now`: a function that tells the Unix second. */
  constructor(definition, now) {
    this.definition = definition;
    this.paths = definition.partitionKey.paths.map((path) => path.slice(1));
    this.fixed = new Set(["id", ...this.paths, ...SYSTEM]);
    this.now = now;
    this.entries = new Map();
    this.ranges = [{ id: "0", low: "", high: "FF", parents: [] }];
    this.lsn = 0; // of the last transaction that wrote
    this.open = false; // whether a batch is under way, whose writes are one transaction
    this.queries = new Map();
  }

  keyOf(components) {
    const texts = Array.isArray(components) && components.every((each) => typeof each === "string");
    if (!texts || components.length !== this.paths.length) {
      throw refuse(400, "the partition key has another number of components than the container's", 1001);
    }
    return components;
  }

  living(name) {
    const entry = this.entries.get(name);
    if (entry && entry.ends <= this.now()) this.entries.delete(name);
    return this.entries.get(name);
  }

  found(partition, id, ifMatch) {
    const entry = this.living(JSON.stringify([partition, id]));
    if (!entry) throw refuse(404, "Entity with the specified id does not exist in the system.");
    if (ifMatch !== undefined && ifMatch !== "*" && ifMatch !== entry.document._etag) {
      throw refuse(412, "One of the specified pre-condition is not met.");
    }
    return entry;
  }

  endOf(document) {
    const container = this.definition.defaultTtl;
    const own = document.ttl;
    if (own !== undefined && !(Number.isInteger(own) && (own === -1 || (own >= 1 && own <= MAX_TTL)))) {
      if (container !== undefined && container !== null) throw refuse(400, "ttl is -1 or a positive integer");
    }
    if (container === undefined || container === null) return Infinity;
    const ttl = own === undefined ? container : own;
    return ttl === -1 ? Infinity : this.now() + ttl;
  }

  store(partition, body) {
    if (typeof body !== "object" || body === null || typeof body.id !== "string" || !/^[^/\\?#]{1,1023}$/.test(body.id)) {
      throw refuse(400, "an item has a text id without / \\ ? #");
    }
    if (!this.paths.every((path, at) => body[path] === partition[at])) {
      throw refuse(400, "the item's partition key is not the one of the request", 1001);
    }
    const document = { ...body };
    for (const name of SYSTEM) delete document[name];
    if (Buffer.byteLength(JSON.stringify(document)) > MAX_BYTES) throw refuse(413, "Request size is too large");
    const ends = this.endOf(document);
    versions += 1;
    const rid = versions.toString(16).padStart(16, "0");
    Object.assign(document, {
      _rid: rid,
      _self: `${this.definition._self}/docs/${rid}/`,
      _etag: `"${rid}"`,
      _attachments: "attachments/",
      _ts: this.now(),
    });
    const name = JSON.stringify([partition, document.id]);
    if (!this.open) this.lsn += 1;
    const entry = { document, partition, ends, hash: effectiveKey(partition), lsn: this.lsn };
    this.entries.set(name, entry);
    return entry;
  }

  /** One item operation, as a batch names it; returns its status and the item. */
  apply(partition, { operationType, id, resourceBody, ifMatch }) {
    const name = (of) => JSON.stringify([partition, of]);
    let entry;
    if (operationType === "Create") {
      if (this.living(name(resourceBody?.id))) throw refuse(409, "Resource with specified id already exists.");
      entry = this.store(partition, resourceBody);
    } else if (operationType === "Upsert") {
      const there = this.living(name(resourceBody?.id));
      if (there && ifMatch !== undefined) this.found(partition, resourceBody.id, ifMatch);
      entry = this.store(partition, resourceBody);
      if (!there) return { status: 201, document: entry.document };
    } else if (operationType === "Replace") {
      this.found(partition, id, ifMatch);
      if (resourceBody?.id !== id) throw refuse(400, "an id cannot change");
      entry = this.store(partition, resourceBody);
    } else if (operationType === "Read") {
      entry = this.found(partition, id);
    } else if (operationType === "Delete") {
      this.found(partition, id, ifMatch);
      this.entries.delete(name(id));
    } else if (operationType === "Patch") {
      entry = this.patch(partition, this.found(partition, id, ifMatch), resourceBody);
    } else {
      throw refuse(400, `unknown operation ${operationType}`);
    }
    return { status: SUCCESS[operationType], document: entry?.document };
  }

  patch(partition, entry, body) {
    const { condition, operations } = Array.isArray(body) ? { operations: body } : body;
    if (condition && this.run(`SELECT * ${condition}`, {}, [entry.document]).result.length === 0) {
      throw refuse(412, "The condition of the patch does not hold.");
    }
    return this.store(partition, applyPatch(entry.document, operations, this.fixed));
  }

  /** A transactional batch: every operation or none; the failed one keeps its status, the others get 424. */
  batch(partition, operations) {
    if (!Array.isArray(operations) || operations.length === 0 || operations.length > MAX_BATCH) {
      throw refuse(400, `a batch has 1 to ${MAX_BATCH} operations`);
    }
    this.lsn += 1;
    this.open = true;
    try {
      return this.transaction(partition, operations);
    } finally {
      this.open = false;
    }
  }

  transaction(partition, operations) {
    const before = new Map(this.entries);
    const results = [];
    for (const operation of operations) {
      try {
        const { status, document } = this.apply(partition, operation);
        const charge = this.charge(operation.operationType, document);
        results.push({ statusCode: status, requestCharge: charge, eTag: document?._etag, resourceBody: document });
      } catch (error) {
        if (!error.status) throw error;
        this.entries = before;
        const failed = operations.map(() => ({ statusCode: 424, requestCharge: 0 }));
        failed[results.length] = { statusCode: error.status, requestCharge: 1, message: error.message };
        return { status: 207, results: failed };
      }
    }
    return { status: 200, results };
  }

  charge(operationType, document) {
    return UNITS[operationType] * (document ? kilobytes(JSON.stringify(document)) : 1);
  }

  /** The living items that a request's headers reach. */
  scope(headers) {
    return this.reached(headers).map((each) => each.document);
  }

  /** The entries that a request's headers reach: one partition, a range of hashes, or a physical partition. */
  reached(headers) {
    for (const name of [...this.entries.keys()]) this.living(name);
    let all = [...this.entries.values()];
    const key = headers["x-ms-documentdb-partitionkey"];
    if (key !== undefined) {
      const wanted = JSON.stringify(this.keyOf(JSON.parse(key)));
      return all.filter((each) => JSON.stringify(each.partition) === wanted);
    }
    const range = headers["x-ms-documentdb-partitionkeyrangeid"];
    if (range !== undefined) {
      const asked = this.ranges.find((each) => each.id === range);
      if (!asked) throw refuse(410, "The partition key range is gone.", 1002);
      all = all.filter((each) => each.hash >= asked.low && each.hash < asked.high);
    } else if (String(headers["x-ms-documentdb-query-enablecrosspartition"]).toLowerCase() !== "true") {
      throw refuse(400, "Cross partition query is required but disabled.");
    }
    const [start, end] = [headers["x-ms-start-epk"], headers["x-ms-end-epk"]];
    return start === undefined ? all : all.filter((each) => each.hash >= start && each.hash < end);
  }

  /**
   * The emulator's own query engine over some items. It refuses an order by several paths without its index; that an
   * index serves its exact reverse, too, it does not know.
   */
  run(sql, options, documents) {
    let compiled = this.queries.get(sql);
    if (!compiled) {
      compiled = query(sql);
      this.queries.set(sql, compiled);
    }
    const declared = this.definition.indexingPolicy?.compositeIndexes ?? [];
    const compositeIndexes = [...declared, ...declared.map((paths) => paths.map(reversed))];
    try {
      return compiled.exec(documents, { ...options, compositeIndexes });
    } catch (error) {
      throw refuse(400, error.message);
    }
  }

  /** Cut the physical partition that holds a prefix in two, within the prefix. The halves have ids of their own. */
  split(prefix) {
    const at = effectiveKey(prefix) + "20";
    const index = this.ranges.findIndex((each) => each.low < at && at < each.high);
    const { id, low, high, parents } = this.ranges[index];
    const next = 1 + Math.max(...this.ranges.map((each) => Number(each.id)));
    const lineage = [...parents, id];
    const halves = [
      { id: String(next), low, high: at, parents: lineage },
      { id: String(next + 1), low: at, high, parents: lineage },
    ];
    this.ranges.splice(index, 1, ...halves);
  }
}

module.exports = { Documents, MAX_BYTES };
