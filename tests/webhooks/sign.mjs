// Signs standard input as GitHub would, with GitHub's own library: node sign.mjs SECRET
import { readFileSync } from "node:fs";
import { sign } from "@octokit/webhooks-methods";

process.stdout.write(await sign(process.argv[2], readFileSync(0, "utf8")));
