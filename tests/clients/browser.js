// @segment/analytics-next for a page, as a site bundles it.

import { AnalyticsBrowser } from "@segment/analytics-next";

window.AnalyticsBrowser = AnalyticsBrowser;
