"use strict";
// The throughput that databases share: sold when they are made, listed and changed as "offers". A serverless account
// has none and says so. The amounts and the refusals are those that Microsoft documents.

const query = require("@zeit/cosmosdb-query").default;
const { refuse } = require("./errors");

const amount = (value, least, step, name) => {
  if (!Number.isInteger(value) || value < least || value % step !== 0) {
    throw refuse(400, `${name} is at least ${least} and a multiple of ${step}`);
  }
  return value;
};

const manual = (units) => ({
  offerThroughput: amount(units, 400, 100, "The offer throughput"),
  offerIsRUPerMinuteThroughputEnabled: false,
});

const autoscale = (most) => ({
  offerThroughput: amount(most, 1000, 1000, "The maximum throughput of autoscale") / 10,
  offerAutopilotSettings: { tier: 0, maximumTierThroughput: 0, autoUpgrade: false, maxThroughput: most },
});

class Offers {
  constructor() {
    this.serverless = false;
    this.listed = [];
    this.count = 0;
  }

  /** What the headers of a new database ask for: the content of an offer, or undefined. */
  asked(headers) {
    const { "x-ms-offer-throughput": units, "x-ms-cosmos-offer-autopilot-settings": settings } = headers;
    if (units === undefined && settings === undefined) return undefined;
    if (this.serverless) {
      throw refuse(400, "Setting offer throughput or autopilot on container is not supported for serverless accounts.");
    }
    return settings === undefined ? manual(Number(units)) : autoscale(JSON.parse(settings).maxThroughput);
  }

  add(database, content) {
    this.count += 1;
    const id = this.count.toString(36).padStart(4, "0");
    const own = { id, _rid: id, _self: `offers/${id}/`, _etag: `"${id}"`, _ts: 0 };
    const of = { resource: database._self, offerResourceId: database._rid, offerType: "Invalid", offerVersion: "V2" };
    this.listed.push({ ...own, ...of, content });
  }

  remove(resource) {
    this.listed = this.listed.filter((each) => each.resource !== resource);
  }

  /** The list of all offers, a query over them, or a replacement: it can change the amount of one, not its kind. */
  answer(method, id, body) {
    if (this.serverless) throw refuse(400, "Reading or replacing offers is not supported for serverless accounts.");
    if (id === undefined) {
      const all = { query: "SELECT * FROM root r", parameters: [] };
      const { query: sql, parameters } = method === "POST" ? body : all;
      const { result } = query(sql).exec(this.listed, { parameters });
      return { status: 200, body: { _rid: "", Offers: result, _count: result.length } };
    }
    const there = this.listed.find((each) => each.id === id);
    if (!there) throw refuse(404, "Offer does not exist");
    if (method !== "PUT") throw refuse(400, `${method} of an offer: not implemented`);
    const { offerAutopilotSettings: settings, offerThroughput: units } = body.content;
    if (Boolean(settings) !== Boolean(there.content.offerAutopilotSettings)) {
      throw refuse(400, "Updating offer to autoscale throughput is not allowed. Please invoke migration API.");
    }
    there.content = settings ? autoscale(settings.maxThroughput) : manual(units);
    return { status: 200, body: there };
  }
}

module.exports = { Offers };
