/** `liveness migrate`: what the embedded stack holds, into the servers that the settings name. */
import { createPublicKey } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import { anchorDirOf } from '../app/anchors.ts'
import { meteringRules } from '../app/metering.ts'
import { secretsOf } from '../app/secrets.ts'
import { chooseKeys } from '../app/secrets-keys.ts'
import { startStack } from '../app/stack.ts'
import { keyId } from '../audit/anchor.ts'
import { type Config, loadConfig, withoutPassword } from '../config.ts'
import { connectEventStore } from '../eventstore/client.ts'
import { createLogger } from '../http/logging.ts'
import { movedIn, movedTo } from '../move/marker.ts'
import { type Moved, move, type Stage } from '../move/move.ts'
import { hasHome } from '../postgres/home.ts'
import { migrate } from '../postgres/migrate.ts'
import { connect } from '../postgres/pool.ts'
import { CommandError, print, printJson } from './output.ts'

export function addMigrateCommand(program: Command): void {
  program
    .command('migrate')
    .description('move everything in DATA_DIR to the servers that EVENTSTORE_URL and DATABASE_URL name')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      '\nStop `liveness start` first, and set what the new installation will be started with; SECRETS_KEY and\n' +
        'AUDIT_SIGNING_KEY are those it was started with before, or else those in DATA_DIR\n' +
        '(SECRETS_KEY_FILE=data/secrets.key, unless the key was rotated). Both servers must be empty.\n' +
        'Interrupted, the same command goes on. When it has ended, nothing starts on DATA_DIR any more.',
    )
    .action(({ json }: { json?: true }) => run(json))
}

async function run(json: true | undefined): Promise<void> {
  const { config } = loadConfig()
  const { DATABASE_URL: databaseUrl, EVENTSTORE_URL: eventStoreUrl, DATA_DIR: dataDir } = config
  if (databaseUrl === undefined || eventStoreUrl === undefined) {
    throw new CommandError('Set EVENTSTORE_URL and DATABASE_URL to the servers to move to; DATA_DIR is moved from.')
  }
  if (!hasHome(dataDir)) {
    throw new CommandError(`DATA_DIR ${dataDir} holds no embedded servers' data: there is nothing to move.`)
  }
  const { secretsKeys, auditSigningKey } = await secretsOf(config)
  const pool = connect(databaseUrl, { applicationName: 'liveness migrate', statementTimeoutMs: 0 })
  const address = { eventStore: withoutPassword(eventStoreUrl), database: withoutPassword(databaseUrl) }
  const stop = new AbortController()
  const onSignal = () => stop.abort(new CommandError('Interrupted. The same command goes on from here.'))
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  const progress = progressBar()
  try {
    if ((await movedTo(dataDir)) !== null && (await movedIn(pool))?.finishedAt != null) {
      return json ? printJson({ moved: true, already: true, ...address }) : print('Everything has been moved already.')
    }
    await warnOfOtherSigningKey(config, createPublicKey(auditSigningKey))
    const log = createLogger(config.LOG_LEVEL === 'info' ? 'warn' : config.LOG_LEVEL, process.stderr)
    const { DATABASE_URL: _, EVENTSTORE_URL: __, ...embedded } = config
    const stack = await startStack(embedded as Config, log, { movedToo: true })
    const [sourcePool, logPool] = [stack.databaseUrl, stack.logDatabaseUrl ?? stack.databaseUrl].map((url) =>
      connect(url, { applicationName: 'liveness migrate', statementTimeoutMs: 0 }),
    ) as [ReturnType<typeof connect>, ReturnType<typeof connect>]
    const [source, target] = [connectEventStore(stack.eventStoreUrl), connectEventStore(eventStoreUrl)]
    try {
      await migrate(stack.databaseUrl)
      const moved = await move({
        source: { dataDir, pool: sourcePool, logPool, store: source },
        target: { url: databaseUrl, pool, store: target, address },
        checkSecrets: async (of) => void (await chooseKeys(of, secretsKeys)),
        signingKey: auditSigningKey,
        publicKeys: [createPublicKey(auditSigningKey), ...(config.AUDIT_OLDER_PUBLIC_KEYS ?? [])],
        anchorDir: anchorDirOf(config),
        graceMs: meteringRules(config).graceMs,
        signal: stop.signal,
        ...progress,
        onWarning: warn,
      })
      progress.stop()
      report(moved, address, json)
    } finally {
      await Promise.all([source.close(), target.close(), sourcePool.end(), logPool.end()])
      await stack.stop()
    }
  } finally {
    progress.stop()
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
    await pool.end()
  }
}

const warn = (message: string): void => void process.stderr.write(`liveness: ${message}\n`)

/** Not refused: whoever rotates it at the same time keeps the old public key. */
async function warnOfOtherSigningKey({ DATA_DIR }: Config, given: ReturnType<typeof createPublicKey>): Promise<void> {
  const kept = await readFile(join(DATA_DIR, 'audit-signing.key'), 'utf8').catch(() => null)
  if (kept === null || keyId(createPublicKey(kept)) === keyId(given)) return
  warn('AUDIT_SIGNING_KEY is not that of DATA_DIR: older anchors are verified with the old public key only. Keep it.')
}

const words: Readonly<Record<Stage, string>> = {
  tables: 'looking at both sides',
  log: 'copying the log',
  compare: "comparing the target's log, and moving the tables",
  'read models': 'folding the read models',
  metering: 'folding metering',
  verify: 'verifying',
  mark: 'marking both sides',
}

/** A line for each stage, and a bar on a terminal. */
function progressBar() {
  const bar = new SingleBar({ format: '{value} of {total} events [{bar}] {percentage}%, {eta} s left' })
  let isShown = false
  let shownAt = 0
  const stop = () => {
    if (isShown) bar.stop()
    isShown = false
  }
  return {
    onStage(stage: Stage): void {
      stop()
      process.stderr.write(`${words[stage]}\n`)
    },
    onProgress(done: number, total: number): void {
      if (!process.stderr.isTTY || (done < total && performance.now() - shownAt < 200)) return
      shownAt = performance.now()
      if (!isShown) bar.start(total, done)
      isShown = true
      bar.update(done)
    },
    stop,
  }
}

function report({ events, appended, tables, rows, report, anchor }: Moved, address: object, json?: true): void {
  const { streams, customers, months, records } = report
  if (json) {
    printJson({ moved: true, events, appended, tables, rows, streams, customers, months, records, anchor, ...address })
    return
  }
  print(`${events} events (${appended} of them in this run) in ${streams} streams of ${customers} customers,`)
  print(`${rows} rows of ${tables.length} tables: the same on both sides. Read models and metering agree with the log.`)
  print(`First anchor of the new log: ${anchor}`)
  print('Start the new installation with these settings. On DATA_DIR nothing starts any more; keep it as a backup.')
}
