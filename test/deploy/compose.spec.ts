/** docker-compose.yml without an engine: what is wrong in it shows here, and not on somebody's first evening with it. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DCLinter } from 'dclint'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { meteringRules } from '../../src/app/metering.ts'
import { chooseRoles } from '../../src/app/roles.ts'
import { refuseMissingSecrets } from '../../src/app/secrets.ts'
import { loadConfig, settingNames } from '../../src/config.ts'
import { kafkaSettings } from '../../src/relay/kafka-settings.ts'
import { compose, composeText, ours, root, type Service, withDefaults } from './compose-file.ts'
import { images } from './images.ts'

const services = Object.entries(compose.services)
const others = services.filter(([, { build }]) => build === undefined)
const folder = mkdtempSync(join(tmpdir(), 'liveness-secrets-'))
const secrets = join(folder, 'secrets')
const makeSecrets = () => execFileSync('sh', [join(root, 'deploy/make-secrets.sh'), secrets]).toString()

beforeAll(() => {
  makeSecrets()
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The environment that a process of the service sees, its secrets in the folder that make-secrets.sh filled. */
const environmentOf = ({ environment = {} }: Service) =>
  Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [name, String(value).replace('/run/secrets', secrets)]),
  )

describe('the file', () => {
  test('keeps to the compose specification, has no floating image tag and no port that is published twice', () => {
    const rules = Object.fromEntries(
      [
        'no-build-and-image',
        'no-quotes-in-volumes',
        'require-quotes-in-ports',
        'service-dependencies-alphabetical-order',
        'service-keys-order',
        'service-ports-alphabetical-order',
        'services-alphabetical-order',
        'top-level-properties-order',
        'no-unbound-port-interfaces', // below, with the one exception
      ].map((rule) => [rule, 0] as const),
    )
    const linter = new DCLinter({ rules, quiet: false, debug: false, exclude: [] })
    const check = (text: string) => {
      const file = join(folder, 'docker-compose.yml')
      writeFileSync(file, text)
      const found: { messages: { message: string }[] }[] = linter.lintFiles([file], false)
      return found.flatMap(({ messages }) => messages.map(({ message }) => message))
    }
    expect(check(withDefaults(composeText))).toEqual([])
    expect(check(withDefaults(composeText.replace('read_only: true', 'readonly: true')))).not.toEqual([])
    expect(check(withDefaults(composeText.replace('postgres:18.6-bookworm', 'postgres')))).not.toEqual([])
  })

  test('needs no variable to be set', () => {
    expect(() => withDefaults(`image: $${'{NAME}'}`)).toThrow()
    expect(() => withDefaults('image: $NAME')).toThrow()
  })

  test('names no file that is not there, and no volume or secret that it does not define', () => {
    for (const [name, service] of services) {
      for (const volume of service.volumes ?? []) {
        const [from = ''] = volume.split(':')
        if (from.startsWith('.')) expect(existsSync(join(root, from)), `${name}: ${from}`).toBe(true)
        else expect(compose.volumes, name).toHaveProperty([from])
      }
      for (const secret of service.secrets ?? []) expect(compose.secrets, name).toHaveProperty([secret])
      for (const needed of Object.keys(service.depends_on ?? {})) expect(compose.services).toHaveProperty([needed])
    }
    const used = new Set(services.flatMap(([, { volumes = [] }]) => volumes.map((volume) => volume.split(':')[0])))
    expect(Object.keys(compose.volumes).filter((volume) => !used.has(volume))).toEqual([])
  })

  test('publishes the balancer to everybody, and anything else on the loopback only', () => {
    for (const [name, { ports = [] }] of services) {
      for (const port of ports) {
        if (name !== 'balancer') expect(port, name).toMatch(/^127\.0\.0\.1:/)
      }
    }
    for (const [name, { ports }] of ours) expect(ports, name).toBeUndefined()
  })
})

describe('the secrets', () => {
  test('are exactly what the script makes, in a folder of its owner alone, and a second run keeps them', () => {
    expect(readdirSync(secrets).toSorted()).toEqual(Object.keys(compose.secrets).toSorted())
    for (const [name, { file }] of Object.entries(compose.secrets)) expect(file).toBe(`./secrets/${name}`)
    expect(statSync(secrets).mode & 0o777).toBe(0o700)
    const before = readFileSync(join(secrets, 'secrets-key'), 'utf8')
    expect(makeSecrets()).not.toContain('made')
    expect(readFileSync(join(secrets, 'secrets-key'), 'utf8')).toBe(before)
  })

  test('can be read by the users of the containers, who own none of them', () => {
    for (const name of readdirSync(secrets)) expect(statSync(join(secrets, name)).mode & 0o777, name).toBe(0o444)
  })

  test('are ignored by git and never sent to the builder', () => {
    expect(readFileSync(join(root, '.gitignore'), 'utf8').split('\n')).toContain('secrets/')
    const [first, ...rest] = readFileSync(join(root, '.dockerignore'), 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    expect(first).toBe('*')
    expect(rest.filter((line) => !/^!(src|migrations|models|deploy\/liveness|[\w.-]+)$/.test(line))).toEqual([])
  })

  test('reach a service through its own list only', () => {
    for (const [name, { environment = {}, secrets: given = [] }] of services) {
      const named = Object.values(environment).flatMap(
        (value) => /^\/run\/secrets\/(.+)$/.exec(String(value))?.[1] ?? [],
      )
      expect(named.toSorted(), name).toEqual([...given].toSorted())
    }
  })
})

describe('this application', () => {
  test.each(ours)('%s gets settings that it knows, with values that it takes', (_name, service) => {
    const environment = environmentOf(service)
    const known = new Set<string>(settingNames.flatMap((name) => [name, `${name}_FILE`]))
    const unknown = Object.keys(environment).filter((name) => !known.has(name))
    expect(unknown).toEqual(['AWS_SHARED_CREDENTIALS_FILE']) // the AWS SDK's
    const { config } = loadConfig(environment, '/nowhere')
    refuseMissingSecrets(config)
    meteringRules(config)
    expect(chooseRoles(config)).toEqual([service.environment?.ROLES])
    expect(config).toMatchObject({ PORT: 8080, OPERATIONS_PORT: 9464, METERING_SUBMIT: false })
  })

  test('has every role, and api twice', () => {
    const roles = ours.map(([, { environment }]) => environment?.ROLES)
    expect(roles.toSorted()).toEqual(['api', 'api', 'metering', 'projections', 'relay'])
  })

  test.each(ours)(
    '%s runs without rights, on a root that cannot be written, and is asked for its readiness',
    (_name, service) => {
      expect(service).toMatchObject({
        user: '1000:1000',
        init: true,
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
        restart: 'unless-stopped',
      })
      expect(service.cap_add).toBeUndefined()
      expect(service.tmpfs?.[0]).toMatch(/^\/tmp:/)
      const [shell, program, flag, script = ''] = service.healthcheck?.test ?? []
      expect([shell, program, flag]).toEqual(['CMD', 'node', '-e'])
      expect(script).toContain(`http://127.0.0.1:${service.environment?.OPERATIONS_PORT}/ready`)
      // Longer than the grace of src/app/shutdown.ts, so that the engine does not kill what is finishing.
      expect(Number.parseInt(service.stop_grace_period ?? '', 10)).toBeGreaterThan(90)
    },
  )

  test('finds its data folders and the operators’ port in the image as the Dockerfile makes them', () => {
    const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8')
    expect(dockerfile).toContain('chown 1000:1000 /data /anchors')
    expect(dockerfile).toMatch(/^USER 1000:1000$/m)
    expect(dockerfile).toMatch(/^EXPOSE 8080 9464$/m)
    for (const [, { volumes = [] }] of ours) {
      for (const volume of volumes) expect(volume.split(':')[1]).toBe('/anchors')
    }
  })

  test('only the leader of metering writes anchors; the API reads them', () => {
    const mounts = Object.fromEntries(ours.map(([name, { volumes = [] }]) => [name, volumes]))
    expect(mounts).toMatchObject({ metering: ['anchors:/anchors'], api1: ['anchors:/anchors:ro'] })
    expect(mounts.api2).toEqual(mounts.api1)
  })
})

describe('other images', () => {
  test.each(others)('%s has a documented image, settings and folders', (_name, service) => {
    const image = images[service.image]
    expect(image, service.image).toBeDefined()
    expect(Object.keys(service.environment ?? {}).filter((name) => !image?.settings.includes(name))).toEqual([])
    const mounted = (service.volumes ?? [])
      .filter((volume) => !volume.startsWith('.'))
      .map((volume) => volume.split(':')[1] ?? '')
    expect(mounted.filter((path) => !image?.owns.includes(path))).toEqual([])
    if (service.user !== undefined) expect(service.user).toBe(`${image?.uid}:${image?.uid}`)
    expect(image?.healthy === true || service.healthcheck !== undefined).toBe(true)
    expect(image?.healthy === true && service.healthcheck !== undefined).toBe(false)
  })

  test('whatever is waited for has a health check', () => {
    for (const [name, { depends_on = {} }] of services) {
      for (const [needed, { condition }] of Object.entries(depends_on)) {
        expect(condition, `${name} → ${needed}`).toBe('service_healthy')
        const { healthcheck, image } = compose.services[needed] as Service
        expect(healthcheck !== undefined || images[image]?.healthy, needed).toBe(true)
      }
    }
  })

  test('every service drops its rights, has limits and a bounded log', () => {
    for (const [name, service] of services) {
      expect(service.cap_drop, name).toEqual(['ALL'])
      expect(service.security_opt, name).toEqual(['no-new-privileges:true'])
      expect(service.deploy?.resources.limits, name).toMatchObject({
        cpus: expect.any(String),
        memory: expect.any(String),
      })
    }
  })

  test('the profiles: servers alone, the application, and monitoring', () => {
    const of = (profile?: string) =>
      services
        .filter(([, { profiles }]) => profiles?.[0] === profile)
        .map(([name]) => name)
        .toSorted()
    expect(of()).toEqual(['eventstore', 'kafka', 'mailpit', 'postgres'])
    expect(of('app')).toEqual(['api1', 'api2', 'balancer', 'metering', 'projections', 'relay'])
    expect(of('monitoring')).toEqual(['grafana', 'prometheus'])
  })

  test('Kafka is told of every listener, and advertises the ports that are there', () => {
    const { environment = {}, ports = [] } = compose.services.kafka as Service
    const listeners = environment.KAFKA_LISTENERS?.split(',').map((listener) => listener.split('://')[0])
    expect(environment.KAFKA_LISTENER_SECURITY_PROTOCOL_MAP?.split(',').map((pair) => pair.split(':')[0])).toEqual(
      listeners,
    )
    expect(environment.KAFKA_ADVERTISED_LISTENERS).toContain('PLAINTEXT://kafka:19092')
    expect(ports).toEqual(['127.0.0.1:9092:9092'])
    expect(Buffer.from(environment.CLUSTER_ID ?? '', 'base64url')).toHaveLength(16)
    for (const [, { environment: mine = {} }] of ours) expect(mine.KAFKA_BROKERS).toBe('kafka:19092')
  })

  test('the event store keeps no secondary indexes, and listens where the image’s own file says', () => {
    const conf = readFileSync(join(root, 'deploy/kurrentdb.conf'), 'utf8')
    expect(conf).toMatch(/^NodeIp: 0\.0\.0\.0$/m)
    expect(conf).toMatch(/^ReplicationIp: 0\.0\.0\.0$/m)
    expect(conf).toMatch(/^SecondaryIndexing:\n {2}Enabled: false$/m)
  })
})

describe('the override files of docs/deployment.md', () => {
  const overrides = [...readFileSync(join(root, 'docs/deployment.md'), 'utf8').matchAll(/```yaml\n([\s\S]*?)```/g)]
    .map(([, text = '']) => text)
    .map((text) => ({ text, services: parse(text, { merge: true, logLevel: 'silent' }).services }))

  test('name services that are there, and settings that the program has', () => {
    expect(overrides).toHaveLength(3)
    for (const { services: changed } of overrides) {
      expect(Object.keys(changed).filter((name) => !(name in compose.services))).toEqual([])
      const named = Object.values<Partial<Service>>(changed).flatMap(({ environment = {} }) => Object.keys(environment))
      const known = settingNames.flatMap((name): string[] => [name, `${name}_FILE`])
      expect(named.filter((name) => !known.includes(name))).toEqual([])
    }
  })

  test('servers elsewhere: none starts here, nothing waits for one, and each process of ours is told of all', () => {
    const { text = '', services: changed = {} } = overrides.find(({ text }) => text.includes('x-elsewhere')) ?? {}
    const unused = Object.keys(changed).filter((name) => changed[name].profiles?.includes('unused'))
    expect(unused.toSorted()).toEqual(['eventstore', 'kafka', 'postgres'])
    expect(Object.keys(changed).toSorted()).toEqual([...ours.map(([name]) => name), ...unused].toSorted())
    const waiting = services.filter(([, { depends_on = {} }]) => unused.some((server) => server in depends_on))
    expect(waiting.map(([name]) => name).toSorted()).toEqual(ours.map(([name]) => name).toSorted())
    const authority = join(folder, 'ca.crt')
    writeFileSync(authority, '-----BEGIN CERTIFICATE-----')
    const given: Record<string, string> = {
      EVENTSTORE_URL: 'esdb://store?tls=true',
      KAFKA_BROKERS: 'kafka:9093',
      KAFKA_TLS: 'on',
      KAFKA_TLS_CA_FILE: authority,
    }
    for (const [name, service] of waiting) {
      expect(text, name).toContain(`  ${name}: { environment: *elsewhere, depends_on: !reset {} }`)
      const environment = Object.keys(changed[name].environment).map((key) => [key, given[key] ?? ''])
      const { config } = loadConfig({ ...environmentOf(service), ...Object.fromEntries(environment) }, '/nowhere')
      expect(kafkaSettings(config)).toEqual({ brokers: ['kafka:9093'], ssl: { ca: '-----BEGIN CERTIFICATE-----' } })
      expect(chooseRoles(config)).toHaveLength(1)
    }
  })
})
