"use strict";
// The npm emulator over HTTPS, with its shortcomings made good: databases, containers and queries are its own, items
// are documents.js, and /_control/… is for tests: the clock, scripted faults, splits, a log of requests.
// Usage: node server.js <certificate.pem> <key.pem>; prints "Ready <port>".

const fs = require("fs");
const https = require("https");
const crypto = require("crypto");
const Account = require("@vercel/cosmosdb-server/lib/account").default;
const routes = require("@vercel/cosmosdb-server/lib/routes").default;
const { Documents, MAX_BYTES } = require("./documents");
const { refuse } = require("./errors");
const { Offers } = require("./throughput");
const { answerFeed } = require("./feed");

const ITEMS = /^\/dbs\/([^/]+)\/colls\/([^/]+)\/docs(?:\/([^/]*))?\/?$/;
const RANGES = /^\/dbs\/([^/]+)\/colls\/([^/]+)\/pkranges\/?$/;
const DATABASES = /^\/+dbs(?:\/([^/]+))?\/?$/;
const OFFERS = /^\/offers(?:\/([^/]+))?\/?$/;
const LOG_LENGTH = 10000;

let account;
const containers = new Map(); // by the container's _rid
const clocks = new Map(); // database → the Unix second that a test set
const offers = new Offers();
let refused = null; // what is not about items, below a path
let faults = [];
let log = [];

const isTrue = (header) => String(header).toLowerCase() === "true";

function container(database, name) {
  const definition = account.database(database).collection(name).read();
  if (!definition) throw refuse(404, "Owner resource does not exist", 1003);
  let documents = containers.get(definition._rid);
  if (!documents) {
    const now = () => clocks.get(database) ?? Math.floor(Date.now() / 1000);
    documents = new Documents(definition, now);
    containers.set(definition._rid, documents);
  }
  documents.definition = definition; // it may have been replaced
  return documents;
}

function operationOf(req, id) {
  if (req.method === "GET" && !id && req.headers["a-im"] !== undefined) return "change_feed";
  if (req.method !== "POST") {
    const known = { GET: id === undefined ? "list" : "read", PUT: "replace", PATCH: "patch", DELETE: "delete" };
    return known[req.method];
  }
  if (isTrue(req.headers["x-ms-cosmos-is-query-plan-request"])) return "plan";
  if (isTrue(req.headers["x-ms-documentdb-isquery"])) return "query";
  if (isTrue(req.headers["x-ms-cosmos-is-batch-request"])) return "batch";
  return isTrue(req.headers["x-ms-documentdb-is-upsert"]) ? "upsert" : "create";
}

function runQuery(documents, req, body) {
  const { "x-ms-continuation": token, "x-ms-max-item-count": size } = req.headers;
  const options = {
    parameters: body.parameters,
    maxItemCount: Number(size ?? 100),
    continuation: token ? JSON.parse(token) : null,
  };
  const { result, continuation } = documents.run(body.query, options, documents.scope(req.headers));
  const headers = { "x-ms-item-count": result.length, "x-ms-request-charge": 2.5 + result.length / 2 };
  if (continuation) headers["x-ms-continuation"] = JSON.stringify(continuation);
  return { status: 200, headers, body: { _rid: documents.definition._rid, Documents: result, _count: result.length } };
}

/** One request about items: its status, headers and body. */
function answerItems(documents, operation, id, req, text) {
  if (Buffer.byteLength(text) > MAX_BYTES) throw refuse(413, "Request size is too large");
  const body = text ? JSON.parse(text) : undefined;
  if (operation === "plan" || operation === "list") throw refuse(400, `${operation}: not implemented`);
  if (operation === "query") return runQuery(documents, req, body);
  if (operation === "change_feed") return answerFeed(documents, req);
  const partition = documents.keyOf(JSON.parse(req.headers["x-ms-documentdb-partitionkey"] ?? "[]"));
  if (operation === "batch") {
    const { status, results } = documents.batch(partition, body);
    const charge = results.reduce((sum, each) => sum + each.requestCharge, 0);
    return { status, headers: { "x-ms-request-charge": charge }, body: results };
  }
  const operationType = operation[0].toUpperCase() + operation.slice(1);
  const { "if-match": ifMatch } = req.headers;
  const { status, document } = documents.apply(partition, { operationType, id, resourceBody: body, ifMatch });
  const headers = { "x-ms-request-charge": documents.charge(operationType, document) };
  if (document) headers.etag = document._etag;
  return { status, headers, body: document };
}

function answerRanges(documents, req) {
  const etag = `"${documents.ranges.length}"`;
  if (req.headers["if-none-match"] === etag) return { status: 304, headers: { etag } };
  const ranges = documents.ranges.map(({ id, low, high, parents }) => ({
    id,
    minInclusive: low,
    maxExclusive: high,
    parents,
    status: "online",
  }));
  return { status: 200, headers: { etag }, body: { PartitionKeyRanges: ranges, _count: ranges.length } };
}

/** Everything else is the emulator's. */
async function answerOther(req, res) {
  const [params, handler] = routes(req) ?? [];
  if (!handler) throw refuse(400, "no route");
  const body = await handler(account, req, res, params);
  return { status: res.statusCode, headers: body?._etag ? { etag: body._etag } : {}, body };
}

/** Databases are the emulator's, what they share is ours. */
async function answerDatabases(name, req, res) {
  const isNew = req.method === "POST" && name === undefined && !isTrue(req.headers["x-ms-documentdb-isquery"]);
  const content = isNew ? offers.asked(req.headers) : undefined;
  const there = name === undefined ? undefined : account.database(name).read();
  const answer = await answerOther(req, res);
  if (content && answer.status === 201) offers.add(answer.body, content);
  if (req.method === "DELETE" && answer.status === 204) offers.remove(there._self);
  return answer;
}

const control = {
  /** {consistency, serverless, refused: {path, status} or null, endpoint: where its regions are said to be, or null
   * for here}: what kind of account it is; what is not named stays. */
  account: ({ consistency, serverless, refused: wanted, endpoint }) => {
    const policy = account.read().userConsistencyPolicy;
    policy.defaultConsistencyLevel = consistency ?? policy.defaultConsistencyLevel;
    offers.serverless = serverless ?? offers.serverless;
    if (wanted !== undefined) refused = wanted;
    if (endpoint === undefined) return;
    const { writableLocations, readableLocations } = account.read();
    const here = `https://127.0.0.1:${server.address().port}/`;
    for (const each of [...writableLocations, ...readableLocations]) each.databaseAccountEndpoint = endpoint ?? here;
  },
  /** {database, now}: what the database takes for the present, in Unix seconds. */
  clock: ({ database, now }) => void clocks.set(database, now),
  /** A list of {database, operation, action, status, headers, skip, times}; an empty one ends all trouble. The former
   * list, each with `hit`: how many requests ran into it. */
  faults: (scripted) => {
    const former = faults;
    faults = scripted.map((each) => ({ skip: 0, times: 1, ...each, hit: 0 }));
    return former;
  },
  /** {database, container, prefix}: two physical partitions where there was one, cut within a prefix. */
  split: ({ database, container: name, prefix }) => void container(database, name).split(prefix),
  /** {database}: the requests since the last look. */
  log: ({ database }) => {
    const seen = log.filter((each) => each.database === database);
    log = log.filter((each) => each.database !== database);
    return seen;
  },
};

/** The fault that a request runs into, if any. */
function faultOf(database, operation) {
  const fault = faults.find(
    (each) => each.database === database && (!each.operation || each.operation === operation) && each.times > 0,
  );
  if (!fault) return undefined;
  if (fault.skip > 0) {
    fault.skip -= 1;
    return undefined;
  }
  fault.times -= 1;
  fault.hit += 1;
  return fault;
}

async function itemsOrFault(match, req, text) {
  const [database, name, id] = match.slice(1).map((part) => part && decodeURIComponent(part));
  const operation = operationOf(req, id);
  const entry = { database, container: name, operation, id, headers: req.headers, text: text.slice(0, 4096) };
  log = [...log.slice(1 - LOG_LENGTH), entry];
  const fault = faultOf(database, operation);
  if (fault?.action === "drop") return { drop: true };
  if (fault?.action === "hang") return new Promise(() => {});
  if (fault && !fault.action) return { status: fault.status, headers: fault.headers ?? {}, body: { code: "scripted" } };
  const answer = answerItems(container(database, name), operation, id, req, text);
  return { ...answer, drop: fault?.action === "apply-then-drop", hang: fault?.action === "apply-then-hang" };
}

async function answer(req, res, text) {
  const { pathname } = new URL(req.url.replace(/^\/+/, "/"), "https://localhost");
  if (pathname.startsWith("/_control/")) {
    return { status: 200, headers: {}, body: control[pathname.slice(10)](JSON.parse(text)) ?? {} };
  }
  const items = ITEMS.exec(pathname);
  if (items) return itemsOrFault(items, req, text);
  if (refused && pathname.startsWith(refused.path)) throw refuse(refused.status, "Refused as a test wishes.");
  const databases = DATABASES.exec(pathname);
  if (databases) return answerDatabases(databases[1] && decodeURIComponent(databases[1]), req, res);
  const offer = OFFERS.exec(pathname);
  if (offer) return offers.answer(req.method, offer[1], text ? JSON.parse(text) : undefined);
  const ranges = RANGES.exec(pathname);
  return ranges ? answerRanges(container(decodeURIComponent(ranges[1]), decodeURIComponent(ranges[2])), req) : null;
}

function send(res, { status, headers = {}, body, drop, hang }) {
  if (hang) return;
  if (drop) {
    res.socket.destroy();
    return;
  }
  const common = { "content-type": "application/json", "x-ms-activity-id": crypto.randomUUID(), "x-ms-request-charge": 1 };
  res.writeHead(status, { ...common, ...headers });
  res.end(body === undefined || status === 204 || status === 304 ? undefined : JSON.stringify(body));
}

async function handle(req, res) {
  const isOurs = /\/(docs|pkranges)(\/|$)|^\/+(_control|offers)(\/|$)/.test(req.url);
  try {
    let text = "";
    if (isOurs) {
      const chunks = [];
      for await (const chunk of req) chunks.push(chunk);
      text = Buffer.concat(chunks).toString();
    }
    send(res, (await answer(req, res, text)) ?? (await answerOther(req, res)));
  } catch (error) {
    const headers = error.subStatus ? { "x-ms-substatus": error.subStatus } : {};
    send(res, { status: error.status ?? 500, headers, body: { code: String(error.status ?? 500), message: error.message } });
    if (!error.status) console.error(error);
  }
}

const [certificate, key] = process.argv.slice(2, 4).map((path) => fs.readFileSync(path));
const server = https.createServer({ cert: certificate, key }, handle);
server.keepAliveTimeout = 0; // never: a test may come back to its connection after minutes
server.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
server.listen(Number(process.argv[4] ?? 0), "127.0.0.1", () => {
  const { port } = server.address();
  account = new Account("127.0.0.1", port);
  account.read().userConsistencyPolicy.defaultConsistencyLevel = "Strong";
  console.log(`Ready ${port}`);
});
process.stdin.on("end", () => process.exit()).resume(); // the tests hold the other end
