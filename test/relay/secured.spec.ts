/**
 * A real Kafka behind TLS and a sign-in: the relay's topic through it, what the start says of wrong settings, and what a
 * process says whose topic is not as it must be.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { createKafkaHealth } from '../../src/app/health.ts'
import { refuseWrongAddresses } from '../../src/app/refusals.ts'
import { ConfigError, loadConfig } from '../../src/config.ts'
import { alarmsOf, createLogger } from '../../src/http/logging.ts'
import { startApp } from '../../src/main.ts'
import { type KafkaSettings, kafkaSettings } from '../../src/relay/kafka-settings.ts'
import { billingTopic, kafkaClient, kafkaTopic, TopicMisconfigured } from '../../src/relay/topic.ts'
import { itemsOf, writeLog } from '../metering/feeding.ts'
import { makeCertificates } from '../support/certificates.ts'
import { reachableFolder } from '../support/folder.ts'
import { type Kafka, kafkaForTests } from '../support/kafka.ts'
import { createMemoryStore } from '../support/memory-store.ts'
import { freePort } from '../support/ports.ts'
import { startTestStack } from '../support/stack.ts'
import { readTopic } from './support.ts'

const there = spawnSync('openssl', ['version']).status === 0
if (!there) console.warn('SKIPPED: Kafka by TLS needs the command openssl')
const folder = reachableFolder('liveness-kafka-tls-')
const port = await freePort()
const user = { username: 'liveness', password: 'correct-horse' }
const kafka = there ? await startSecured() : null
const caFileOf = (authority: string) => join(folder, `${authority}-ca.crt`)
const right: Readonly<Record<string, string>> = {
  KAFKA_BROKERS: `localhost:${port}`,
  KAFKA_TLS: 'on',
  KAFKA_TLS_CA_FILE: caFileOf('ours'),
  KAFKA_SASL_MECHANISM: 'plain',
  KAFKA_SASL_USERNAME: user.username,
  KAFKA_SASL_PASSWORD: user.password,
}
const mail = { verify: async () => {} }

afterAll(async () => {
  await kafka?.stop()
  rmSync(folder, { recursive: true, force: true })
})

describe.skipIf(kafka === null)('Kafka by TLS with a sign-in', () => {
  test.each(['plain', 'scram-sha-256'])(
    '%s: the relay makes its topic, writes it, and it can be read',
    async (by) => {
      const { config } = loadConfig({ ...right, KAFKA_SASL_MECHANISM: by }, '/nowhere')
      const settings = kafkaSettings(config) as KafkaSettings
      const store = createMemoryStore()
      await refuseWrongAddresses(config, store, mail)
      await writeLog(store)
      const items = await itemsOf(store)
      const name = `secured-${by}`
      const topic = await kafkaTopic(settings, { name }).open(AbortSignal.timeout(30_000), (error) => {
        throw error
      })
      try {
        await topic.send(items)
        const ofEach = (await topic.endOffsets()).map(Number)
        expect(ofEach.reduce((sum, count) => sum + count)).toBe(items.length)
      } finally {
        await topic.close()
      }
      const read = await readTopic(settings, name)
      expect(read).toEqual(read.map((_, partition) => items.filter((item) => item.partition === partition)))
    },
    60_000,
  )

  test.each([
    ['another authority', { KAFKA_TLS_CA_FILE: caFileOf('others') }, /certificate is not trusted .*KAFKA_TLS_CA /],
    ['another password', { KAFKA_SASL_PASSWORD: 'hunter2' }, /refuses the user name or the password.*KAFKA_SASL_/],
    [
      'another password by SCRAM',
      { KAFKA_SASL_PASSWORD: 'hunter2', KAFKA_SASL_MECHANISM: 'scram-sha-256' },
      /refuses the user name or the password.*KAFKA_SASL_/,
    ],
  ])('%s ends the start with a sentence that names the setting and not the password', async (_, wrong, sentence) => {
    const { config } = loadConfig({ ...right, ...wrong }, '/nowhere')
    const look = () =>
      refuseWrongAddresses(config, createMemoryStore(), mail).then(
        () => new Error('nothing was refused'),
        (error: Error) => error,
      )
    // A look is bounded; on a busy machine its bound may come before the answer.
    await expect.poll(look, { timeout: 25_000 }).toBeInstanceOf(ConfigError)
    const { message } = await look()
    expect(message).toMatch(/^KAFKA_BROKERS: the server/)
    expect(message).toMatch(sentence)
    expect(message).not.toContain('hunter2')
  })
})

test.runIf(kafka)(
  'GET /ready says of a broker whether it refuses the password, and nothing of one that answers',
  async () => {
    const healthOf = (settings: Record<string, string>) =>
      createKafkaHealth(kafkaSettings(loadConfig(settings, '/nowhere').config) as KafkaSettings)
    // A probe is bounded; on a busy machine its bound may come before the answer.
    await expect.poll(healthOf(right), { timeout: 20_000 }).toBeNull()
    await expect
      .poll(healthOf({ ...right, KAFKA_SASL_PASSWORD: 'hunter2' }), { timeout: 20_000 })
      .toBe('Kafka: the server refuses the user name or the password')
  },
)

test.runIf(kafka)(
  'a topic that is not as it must be ends a process that relays: an alarm of that name, and no other',
  async () => {
    const admin = kafkaClient(kafkaSettings(loadConfig(right, '/nowhere').config) as KafkaSettings, 'tests').admin()
    await admin.connect()
    await admin.createTopics({ topics: [{ topic: billingTopic, numPartitions: 3 }] })
    await admin.disconnect()
    const stack = await startTestStack()
    const log = createLogger('fatal', { write: () => {} })
    const app = await startApp(loadConfig({ ...stack.env, ...right, ROLES: 'relay' }, '/nowhere'), { log })
    try {
      expect(await app.failed).toBeInstanceOf(TopicMisconfigured)
      expect([...alarmsOf(log)]).toEqual([['relay', 1]])
      const { reasons } = (await (await fetch(`${app.operationsUrl}/ready`)).json()) as { reasons: string[] }
      expect(reasons.join()).toMatch(/^The relay has stopped for good: .*3 partitions instead of 12/)
    } finally {
      await app.stop()
      await stack.stop()
    }
  },
  60_000,
)

async function startSecured(): Promise<Kafka | null> {
  makeCertificates(folder, 'others')
  const { keyFile, certFile } = makeCertificates(folder, 'ours')
  const keyAndCertificateFile = join(folder, 'broker.pem')
  writeFileSync(keyAndCertificateFile, readFileSync(keyFile, 'utf8') + readFileSync(certFile, 'utf8'), { mode: 0o600 })
  // `restarts`: a broker of our own, whose listeners are ours to say.
  return kafkaForTests('Kafka by TLS with a sign-in', 'restarts', {
    secured: { port, keyAndCertificateFile, ...user },
  })
}
