// Makes every call of @segment/analytics-node once: node server.js URL KEY

import { Analytics } from "@segment/analytics-node";

const [host, writeKey] = process.argv.slice(2);
const analytics = new Analytics({ writeKey, host });
analytics.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});
const userId = "node@example.com";
analytics.identify({ userId, traits: { firstName: "Node" } });
analytics.track({ userId, event: "Demo Requested", properties: { kind: "call" } });
analytics.page({ userId, name: "Pricing", properties: { path: "/pricing" } });
analytics.screen({ userId, name: "Start" });
analytics.group({ userId, groupId: "acme", traits: { industry: "Retail" } });
analytics.alias({ userId, previousId: "before" });
await analytics.closeAndFlush({ timeout: 60000 });
