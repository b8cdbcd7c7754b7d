import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { secretsOf } from '../src/app/secrets.ts'
import { ConfigError, loadConfig, settingNames } from '../src/config.ts'

const folder = mkdtempSync(join(tmpdir(), 'liveness-config-'))
const file = (name: string, content: string) => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}
const noDotenv = join(folder, 'absent')
const load = (environment: Record<string, string>, dotenv = noDotenv) => loadConfig(environment, dotenv)
const line = (report: ReturnType<typeof load>['report'], name: string) => report.find((one) => one.name === name)
const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const key32 = Buffer.alloc(32, 7).toString('base64')

describe('where a setting comes from', () => {
  test('an empty environment gives the embedded defaults', () => {
    const { config } = load({})
    expect(config).toMatchObject({ HOST: '127.0.0.1', PORT: 8080, SPOOF_THRESHOLD: 0.15 })
    expect(config.DATA_DIR).toBe(resolve('data'))
    expect(config.DATABASE_URL).toBeUndefined()
  })

  test('the environment comes before .env, and .env before the default', () => {
    const dotenv = file('env1', 'PORT=9001\nHOST=0.0.0.0\n')
    const { config, report } = load({ PORT: '9002' }, dotenv)
    expect(config).toMatchObject({ PORT: 9002, HOST: '0.0.0.0' })
    expect(line(report, 'PORT')?.from).toBe('environment')
    expect(line(report, 'HOST')?.from).toBe('.env')
    expect(line(report, 'DATA_DIR')?.from).toBe('default')
  })

  test('an empty value counts as not set', () => {
    expect(load({ PORT: '', DATABASE_URL: '' }).config).toMatchObject({ PORT: 8080 })
  })

  test('NAME_FILE reads any setting from a file, without the line break at its end', () => {
    const path = file('db', 'postgres://me:secret@db/liveness\n')
    const { config, report } = load({ DATABASE_URL_FILE: path })
    expect(config.DATABASE_URL).toBe('postgres://me:secret@db/liveness')
    expect(line(report, 'DATABASE_URL')).toMatchObject({
      value: 'postgres://me:***@db/liveness',
      from: `file ${path}`,
    })
  })

  test('a file that is not there, and NAME beside NAME_FILE, are errors that name the variable', () => {
    expect(() => load({ PORT_FILE: join(folder, 'nothing') })).toThrow(/^PORT_FILE must name a file/)
    expect(() => load({ PORT: '1', PORT_FILE: noDotenv })).toThrow('PORT and PORT_FILE must not both be set')
  })
})

describe('a wrong value names the variable, where it came from and what is expected', () => {
  test.each([
    ['PORT', '80a', 'a port number'],
    ['PORT', '70000', 'a port number'],
    ['SPOOF_THRESHOLD', '1.5', 'a number from 0 to 1'],
    ['DATABASE_URL', 'mysql://x', 'a postgres:// address'],
    ['EVENTSTORE_URL', 'http://x', 'an esdb://'],
    ['ROLES', 'api,cook', 'api, projections, relay, metering'],
    ['TRUST_PROXY', 'yes', 'off, a number of proxies'],
    ['KAFKA_BROKERS', 'kafka', 'host:port'],
    ['KAFKA_BROKERS', 'kafka:99999', 'host:port'],
    ['PUBLIC_URL', 'https://liveness.example/api', 'without a path'],
    ['SMTP_URL', 'smtp://', 'of a host'],
    ['METERING_SUBMIT', 'true', 'on or off'],
    ['LOG_LEVEL', 'loud', 'one of fatal'],
    ['SECRETS_KEY', 'dG9vIHNob3J0', '32 random bytes'],
    ['AUDIT_SIGNING_KEY', 'nonsense', 'an Ed25519 private key'],
  ])('%s=%s', (name, value, expected) => {
    expect(() => load({ [name]: value })).toThrow(new RegExp(`^${name} must be .*${expected}.*from environment`))
  })

  test('every wrong setting is named at once', () => {
    const error = (() => {
      try {
        load({ PORT: 'x', RATE_LIMIT: '0' })
      } catch (caught) {
        return caught
      }
      return null
    })()
    expect(error).toBeInstanceOf(ConfigError)
    expect(String(error)).toMatch(/PORT must be[\s\S]*RATE_LIMIT must be/)
  })

  test('a wrong secret is not repeated', () => {
    expect(() => load({ SECRETS_KEY: 'hunter2' })).toThrow(/^(?![\s\S]*hunter2)/)
    expect(() => load({ DATABASE_URL: 'me:hunter2@db' })).toThrow(/^(?![\s\S]*hunter2)/)
  })
})

describe('secrets', () => {
  test('are masked in the report, within addresses too', () => {
    const { report } = load({
      SECRETS_KEY: key32,
      AUDIT_SIGNING_KEY: pem,
      KAFKA_SASL_PASSWORD: 'hunter2',
      SMTP_URL: 'smtps://me:hunter2@mail:465',
      DATABASE_URL: 'postgres://db/liveness?user=me&password=hunter2',
    })
    const text = JSON.stringify(report)
    expect(text).not.toContain('hunter2')
    expect(text).not.toContain(key32)
    expect(line(report, 'AUDIT_SIGNING_KEY')?.value).toBe('***')
  })

  test('a PEM that lost its line breaks is read', () => {
    expect(load({ AUDIT_SIGNING_KEY: pem.replaceAll('\n', '') }).config.AUDIT_SIGNING_KEY?.asymmetricKeyType).toBe(
      'ed25519',
    )
  })

  test('are generated once into the data directory, readable by the owner only', async () => {
    const { config } = load({ DATA_DIR: folder })
    const first = await secretsOf(config)
    const again = await secretsOf(config)
    expect(first.secretsKeys.map((key) => key.length)).toEqual([32])
    expect(again.secretsKeys).toEqual(first.secretsKeys)
    expect(again.auditSigningKey.equals(first.auditSigningKey)).toBe(true)
    for (const name of ['secrets.key', 'audit-signing.key']) {
      expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600)
    }
  })

  test.each(['DATABASE_URL', 'EVENTSTORE_URL'])('must be given when %s is', async (name) => {
    const url = name === 'DATABASE_URL' ? 'postgres://db/x' : 'esdb://store:2113?tls=false'
    await expect(secretsOf(load({ [name]: url, DATA_DIR: folder }).config)).rejects.toThrow(
      `SECRETS_KEY and AUDIT_SIGNING_KEY must be set when ${name} is`,
    )
    const given = load({ [name]: url, SECRETS_KEY: key32, AUDIT_SIGNING_KEY: pem }).config
    expect((await secretsOf(given)).secretsKeys[0]).toHaveLength(32)
  })
})

test('README explains every setting and no other', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const documented = [...readme.matchAll(/^\| `([A-Z_]+)` *\|/gm)].map(([, name]) => name)
  expect(documented.sort()).toEqual([...settingNames].sort())
})

test('public keys of before are several PEMs, one behind the other', () => {
  const pem = () => generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const keys = [pem(), pem()]
  const { config } = loadConfig({ AUDIT_OLDER_PUBLIC_KEYS: keys.join('') }, '/nowhere')
  expect(config.AUDIT_OLDER_PUBLIC_KEYS?.map((key) => key.export({ type: 'spki', format: 'pem' }))).toEqual(keys)
  const oneLine = file('env2', `AUDIT_OLDER_PUBLIC_KEYS=${keys.join('').replaceAll('\n', '')}\n`)
  const ofDotenv = loadConfig({}, oneLine).config.AUDIT_OLDER_PUBLIC_KEYS
  expect(ofDotenv?.map((key) => key.export({ type: 'spki', format: 'pem' }))).toEqual(keys)
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' })
  for (const wrong of ['x', ec.toString(), `${keys[0]}${ec}`]) {
    expect(() => loadConfig({ AUDIT_OLDER_PUBLIC_KEYS: wrong }, '/nowhere')).toThrow(/^AUDIT_OLDER_PUBLIC_KEYS must be/)
  }
})

test('an event store is one host or a cluster of them', () => {
  const cluster = 'esdb://u:p@one:2113,two:2113,three:2113?tls=true&tlsCAFile=/etc/ca.crt&nodePreference=leader'
  for (const EVENTSTORE_URL of [
    cluster,
    'esdb+discover://u:p@cluster.example:2113?tls=true',
    'esdb://127.0.0.1:2113',
  ]) {
    expect(loadConfig({ EVENTSTORE_URL }, '/nowhere').config.EVENTSTORE_URL).toBe(EVENTSTORE_URL)
  }
  for (const EVENTSTORE_URL of ['http://one:2113', 'esdb://', 'esdb://one:2113, two:2113']) {
    expect(() => loadConfig({ EVENTSTORE_URL }, '/nowhere')).toThrow(/^EVENTSTORE_URL must be/)
  }
})
