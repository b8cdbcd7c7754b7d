/** A real Kafka: one node, KRaft, on 127.0.0.1, as a child process that ends with its parent. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Kafka as KafkaClient, logLevel } from 'kafkajs'
import { lockDataDir } from '../../src/data-dir.ts'
import { freePort } from '../support/ports.ts'
import { ensureClasses } from './classes.ts'
import { ensureJars } from './jars.ts'
import { type Secured, scramUser, securedListener } from './secured.ts'

export interface Kafka {
  readonly brokers: string[]
  /** Of the process that runs now; undefined for a broker that is not ours. */
  readonly pid: () => number | undefined
  /** Sends a signal and waits for the end; SIGKILL follows after 10 s. Clients lose it, data stay. */
  kill(signal: NodeJS.Signals): Promise<void>
  /** Starts it again on the same port and folder, after `kill` or on top of a running one. */
  restart(): Promise<void>
  /** Ends it for good, and removes its folder when that was a temporary one. */
  stop(): Promise<void>
}

/** 16 bytes as base64url. A constant, because one that begins with `-` is taken for an option. */
const clusterId = 'bGl2ZW5lc3Mta2Fma2EtMQ'
const startMs = 120_000
/** Once seen: a broker that did not heed SIGTERM for four minutes. */
const sigtermMs = 10_000
const jvm = ['-Xms256m', '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:-UsePerfData']
const log = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=warn']

export interface KafkaOptions {
  /** Kept by `stop`; without it data lie in a temporary folder. */
  readonly dir?: string
  /** 0 or none: any free one. */
  readonly port?: number
  /** A second way in: clients that come through it are told the other port, such as a proxy's, for all that follows. */
  readonly proxied?: { readonly port: number; readonly proxyPort: number }
  /** Another way in: TLS, with a sign-in. */
  readonly secured?: Secured
}

/**
 * Starts a broker.
 * @throws DataDirInUse: two brokers on one folder harm each other
 */
export async function startKafka(options: KafkaOptions = {}): Promise<Kafka> {
  const jars = await ensureJars()
  const classes = await ensureClasses(jars, (option) => runOnce(jars, option))
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'liveness-kafka-')))
  const lock = await lockDataDir(dir)
  const release = async () => {
    await lock.release()
    if (options.dir === undefined) await rm(dir, { recursive: true, force: true })
  }
  let process: Process | undefined
  let port = options.port ?? 0
  const start = async () => {
    process = await launch(jars, dir, { ...options, port }, classes)
    port = process.port
  }
  try {
    // Ports that were free a moment ago may be taken now: then the broker ends at once, and others are tried.
    for (let tries = options.port ? 1 : 3; process === undefined; tries--) {
      await start().catch((error: unknown) => {
        if (tries <= 1) throw error
      })
    }
  } catch (error) {
    await release()
    throw error
  }
  return {
    brokers: [`127.0.0.1:${port}`],
    pid: () => process?.pid,
    kill: async (signal) => process?.kill(signal),
    async restart() {
      await process?.kill('SIGTERM')
      await start()
    },
    async stop() {
      await process?.kill('SIGTERM')
      await release()
    },
  }
}

interface Process {
  readonly port: number
  readonly pid: number | undefined
  kill(signal: NodeJS.Signals, patienceMs?: number): Promise<void>
}

/** A broker that starts, answers and ends. */
async function runOnce(jars: string, option: string): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'liveness-kafka-'))
  try {
    const process = await launch(jars, dir, {}, [option])
    await process.kill('SIGTERM', startMs)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

async function launch(jars: string, dir: string, options: KafkaOptions, classes: string[]): Promise<Process> {
  const { port: wanted = 0, secured } = options
  const port = wanted === 0 ? await freePort() : wanted
  const controllerPort = await freePort()
  const properties = join(dir, 'server.properties')
  await writeFile(properties, propertiesOf(port, controllerPort, join(dir, 'log'), options))
  await mkdir(join(dir, 'log'), { recursive: true })
  const output = await open(join(dir, 'output'), 'a')
  const java = (...args: string[]) =>
    spawn('java', [...jvm, ...log, '-cp', `${jars}/*`, ...args], { stdio: ['ignore', output.fd, output.fd] })
  try {
    if (!existsSync(join(dir, 'log', 'meta.properties'))) {
      const formatted = secured === undefined ? `${jars}-formatted` : null
      if (formatted !== null && existsSync(formatted)) {
        await cp(formatted, join(dir, 'log'), { recursive: true })
      } else {
        const users = secured === undefined ? [] : ['--add-scram', scramUser(secured)]
        const where = ['-t', clusterId, '-c', properties, '--ignore-formatted']
        const format = java('kafka.tools.StorageTool', 'format', ...where, ...users)
        const [code] = await once(format, 'exit')
        if (code !== 0) throw new Error(`the broker's folder could not be formatted: ${await tail(dir)}`)
        if (formatted !== null) await keep(join(dir, 'log'), formatted)
      }
    }
    const broker = java(...classes, 'kafka.Kafka', properties)
    const ended = once(broker, 'exit')
    endWithParent(broker)
    const kill = async (signal: NodeJS.Signals, patienceMs = sigtermMs) => {
      broker.kill(signal)
      const last = setTimeout(() => broker.kill('SIGKILL'), patienceMs)
      await ended
      clearTimeout(last)
    }
    await untilAnswered(broker, port).catch(async (cause) => {
      await kill('SIGKILL')
      throw new Error(`the broker did not start: ${await tail(dir)}`, { cause })
    })
    return { port, pid: broker.pid, kill }
  } finally {
    await output.close()
  }
}

/** Keeps a formatted folder for the brokers to come, which saves each of them the start of a JVM. */
async function keep(folder: string, formatted: string): Promise<void> {
  const copy = await mkdtemp(`${formatted}-`)
  await cp(folder, copy, { recursive: true })
  // Somebody else may have been faster; theirs is as good.
  await rename(copy, formatted).catch(() => rm(copy, { recursive: true, force: true }))
}

/** A shell that waits on a pipe of ours: when this process is gone, killed included, so soon is the broker. */
function endWithParent(broker: ChildProcess): void {
  const watchdog = spawn('sh', ['-c', 'read _; kill -9 "$1" 2>/dev/null', 'watchdog', String(broker.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true, // Ctrl-C is for us to answer
  })
  broker.once('exit', () => watchdog.kill('SIGKILL'))
}

async function untilAnswered(broker: ChildProcess, port: number): Promise<void> {
  const retry = { retries: 0, initialRetryTime: 50, maxRetryTime: 50, factor: 0, multiplier: 1 }
  const client = new KafkaClient({ brokers: [`127.0.0.1:${port}`], retry, logLevel: logLevel.NOTHING })
  for (const deadline = performance.now() + startMs; ; await pause(50)) {
    if (broker.exitCode !== null || broker.signalCode !== null) throw new Error('it ended')
    const admin = client.admin({ retry })
    try {
      await admin.connect()
      // The listener is open before the node has registered with its controller and can be asked for a topic.
      const { brokers } = await admin.describeCluster()
      if (brokers.length > 0) return
    } catch (error) {
      if (performance.now() > deadline) throw error
    } finally {
      await admin.disconnect().catch(() => {})
    }
  }
}

const tail = async (dir: string) => (await readFile(join(dir, 'output'), 'utf8')).slice(-2_000)

/** Short sessions, or a killed broker would wait 12 s for its own old session to end before it serves again. */
function propertiesOf(port: number, controllerPort: number, dir: string, { proxied, secured }: KafkaOptions): string {
  const [listener, advertised] =
    proxied === undefined
      ? ['', '']
      : [`,PROXIED://127.0.0.1:${proxied.port}`, `,PROXIED://127.0.0.1:${proxied.proxyPort}`]
  const second = secured === undefined ? '' : `,SECURED://localhost:${secured.port}`
  return Object.entries({
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}${listener}${second}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}${advertised}${second}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,SECURED:SASL_SSL,CONTROLLER:PLAINTEXT',
    'inter.broker.listener.name': 'PLAINTEXT',
    'log.dirs': dir,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 1,
    'group.initial.rebalance.delay.ms': 0,
    'auto.create.topics.enable': false,
    'broker.session.timeout.ms': 1_000,
    'broker.heartbeat.interval.ms': 200,
    'log.cleaner.dedupe.buffer.size': 4_194_304,
    'controller.quorum.election.timeout.ms': 200,
    'controller.quorum.fetch.timeout.ms': 500,
    ...(secured === undefined ? {} : securedListener(secured)),
  })
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}
