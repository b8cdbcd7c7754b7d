/** What an auditor runs: from the log to the bill, and from a file to the proof that nobody changed either. */
import { createPublicKey } from 'node:crypto'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import type { System } from '../app/system.ts'
import { keepAnchor, newestAnchor, readAnchor } from '../audit/anchor-files.ts'
import { chunksOfFile } from '../audit/bounded-file.ts'
import { yearMonthSchema } from '../audit/bundle.ts'
import { checkBundle } from '../audit/check-bundle.ts'
import { exportBundle } from '../audit/export.ts'
import { takeAnchor } from '../audit/take-anchor.ts'
import { databaseTime } from '../postgres/pool.ts'
import { appendTick } from '../relay/ticks.ts'
import { writeWhole } from '../write-whole.ts'
import { type ReplayOptions, replay } from './audit-replay.ts'
import { printReport } from './audit-report.ts'
import { auditSettings, readPublicKeys, repeated, severalKeys, warn } from './audit-settings.ts'
import { addAuditVerifyCommands } from './audit-verify.ts'
import { argument, customerIdArgument, print, printJson } from './output.ts'
import { withSystem } from './system.ts'

const month = argument(yearMonthSchema, 'a month as YYYY-MM')

export function addAuditCommands(program: Command): void {
  const audit = program.command('audit').description('recompute bills from the log, and prove that it was not touched')

  audit
    .command('replay')
    .description("a customer's statement of a UTC month, recomputed from the log alone")
    .requiredOption('--customer <id>', "the customer's id", customerIdArgument)
    .requiredOption('--month <YYYY-MM>', 'the month', month)
    .option('--json', 'one JSON object: the statement, and what is wrong')
    .addOption(new Option('--csv', 'one line per event, each with its revision, id and amount').conflicts('json'))
    .action((options: ReplayOptions) => withSystem(({ store }) => replay(store, options)))

  audit
    .command('anchor')
    .description('sign the heads of all streams as they are now; keep the file where nobody of this system can write')
    .option('--into <file>', 'default: a new file in ANCHOR_DIR')
    .option('--json', 'one JSON object')
    .action(({ into, json }: { into?: string; json?: true }) =>
      withSystem(async (system) => {
        const { anchor, dir } = await anchorNow(system)
        const path = into === undefined ? await keepAnchor(dir, anchor) : resolve(into)
        if (into !== undefined) await writeWhole(path, [Buffer.from(`${JSON.stringify(anchor)}\n`)])
        const { through, streams, root } = anchor
        if (json) return printJson({ path, through, streams, root })
        print(`${streams} streams through ${through}, root ${root}`)
        print(path)
      }),
    )

  audit
    .command('public-key')
    .description('the key that anchors and bundles are verified with, as PEM')
    .action(() =>
      withSystem(async () => {
        const { signingKey } = await auditSettings()
        process.stdout.write(createPublicKey(signingKey).export({ type: 'spki', format: 'pem' }))
      }),
    )

  audit
    .command('export')
    .description("a customer's month as one signed file, to be verified without this system")
    .requiredOption('--customer <id>', "the customer's id", customerIdArgument)
    .requiredOption('--month <YYYY-MM>', 'the month', month)
    .requiredOption('--into <file>', 'the file to write')
    .option('--json', 'one JSON object')
    .action((options: { customer: string; month: string; into: string; json?: true }) =>
      withSystem((system) => exportInto(system, options)),
    )

  audit
    .command('verify-bundle')
    .description('verify an exported file; needs no database, no event store and no settings')
    .argument('<file>')
    .requiredOption('--public-key <file>', `PEM, from elsewhere than the bundle; ${severalKeys}`, repeated)
    .option('--anchor <file...>', 'anchors that you kept: finds what a holder of the signing key could forge')
    .option('--json', 'one JSON object')
    .action(async (file: string, options: { publicKey: string[]; anchor?: string[]; json?: true }) => {
      const keys = await readPublicKeys(options.publicKey)
      const kept = await Promise.all((options.anchor ?? []).map((path) => readAnchor(path, keys)))
      printReport(await checkBundle(chunksOfFile(file), keys, kept), options.json)
    })

  addAuditVerifyCommands(audit)
}

/** An anchor of everything written until now, from the newest one in ANCHOR_DIR on. */
async function anchorNow({ store, clock, pool }: System) {
  const { signingKey, publicKeys, dir } = await auditSettings()
  const earlier = await newestAnchor(dir, publicKeys, warn)
  const tick = () => appendTick({ store, clock, databaseClock: () => databaseTime(pool) })
  return { anchor: await takeAnchor({ store, signingKey, tick }, { earlier, fresh: true }), dir }
}

async function exportInto(
  system: System,
  { customer, month, into, json }: { customer: string; month: string; into: string; json?: true },
): Promise<void> {
  const { signingKey, publicKeys, dir: anchorDir } = await auditSettings()
  const takeNow = async () => {
    const { anchor, dir } = await anchorNow(system)
    await keepAnchor(dir, anchor)
    return anchor
  }
  const own = { signingKey, olderKeys: publicKeys.slice(1) }
  const source = { store: system.store, ...own, anchorDir, takeNow, onBadAnchor: warn, now: system.clock.now }
  const path = resolve(into)
  await writeWhole(path, await exportBundle(source, customer, month))
  // What is handed out has been read back and verified as whoever gets it will.
  const report = await checkBundle(chunksOfFile(path), publicKeys)
  printReport(report, json, path)
}
