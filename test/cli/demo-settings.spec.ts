import { generateKeyPairSync } from 'node:crypto'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { chooseRoles } from '../../src/app/roles.ts'
import { loadConfig, type SettingName, settingNames } from '../../src/config.ts'
import { demoConfig } from '../../src/demo/settings.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
/** A production's environment: each setting another than its default. */
const production: Readonly<Record<SettingName, string>> = {
  HOST: '0.0.0.0',
  PORT: '443',
  OPERATIONS_PORT: '9464',
  PUBLIC_URL: 'https://liveness.example',
  TRUST_PROXY: '1',
  DATA_DIR: '/srv/liveness',
  MODELS_DIR: '/srv/models',
  MODEL_SET: 'own',
  SPOOF_THRESHOLD: '0.4',
  EVENTSTORE_URL: 'esdb://store:2113',
  DATABASE_URL: 'postgres://db/liveness',
  KAFKA_BROKERS: 'kafka:9092',
  KAFKA_TLS: 'on',
  KAFKA_TLS_CA: '-----BEGIN CERTIFICATE-----',
  KAFKA_SASL_MECHANISM: 'plain',
  KAFKA_SASL_USERNAME: 'liveness',
  KAFKA_SASL_PASSWORD: 'hunter2',
  SMTP_URL: 'smtp://mail:587',
  MAIL_FROM: 'liveness@example.com',
  ROLES: 'api',
  SECRETS_KEY: Buffer.alloc(32, 7).toString('base64'),
  SECRETS_KEY_PREVIOUS: Buffer.alloc(32, 8).toString('base64'),
  AUDIT_SIGNING_KEY: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  AUDIT_OLDER_PUBLIC_KEYS: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  ANCHOR_DIR: '/srv/anchors',
  RATE_LIMIT: '7',
  METERING_SUBMIT: 'on',
  METERING_GRACE: '61',
  METERING_WINDOW_HOURS: '5',
  METERING_MONTH_CLOSE_HOUR: '5',
  METERING_CARRY_FORWARD: 'off',
  METERING_HEARTBEAT: 'on',
  MARKETPLACE_REGION: 'eu-west-1',
  MARKETPLACE_PRODUCT_CODE: 'product',
  MARKETPLACE_QUEUE_URL: 'https://sqs.us-east-1.amazonaws.com/1/queue',
  LOG_LEVEL: 'debug',
}
const { config: found } = loadConfig(production, null)
const { config: defaults } = loadConfig({}, null)
/** The settings that are as production has them, and those that are neither that nor the default. */
const inherited = (folder: string | undefined) => {
  const config = demoConfig(found, folder)
  const asFound = settingNames.filter((name) => config[name] === found[name])
  const others = settingNames.filter((name) => !asFound.includes(name) && config[name] !== defaults[name])
  return { asFound, others }
}

test('the demonstration takes what judges a photograph, and nothing that others share', () => {
  for (const name of settingNames) expect(found[name], name).not.toBe(defaults[name])
  const judging: SettingName[] = ['MODELS_DIR', 'MODEL_SET', 'SPOOF_THRESHOLD', 'LOG_LEVEL']
  expect(inherited('/tmp/demo')).toEqual({ asFound: judging, others: ['PORT', 'DATA_DIR'] })
  expect(demoConfig(found, '/tmp/demo')).toMatchObject({ PORT: 0, DATA_DIR: '/tmp/demo' })
  expect(chooseRoles(demoConfig(found, '/tmp/demo'))).toEqual(['api', 'projections', 'metering'])
})

test('with --keep also the folder and the keys that later starts on it will have', () => {
  const { asFound } = inherited(undefined)
  expect(asFound).toEqual(
    settingNames.filter((name) =>
      /^(DATA_DIR|MODELS_DIR|MODEL_SET|SPOOF_THRESHOLD|SECRETS_KEY|AUDIT_SIGNING_KEY|LOG_LEVEL)$/.test(name),
    ),
  )
  expect(demoConfig(found, undefined).DATA_DIR).toBe(resolve('/srv/liveness'))
})
