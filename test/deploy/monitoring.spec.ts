/**
 * Prometheus, its alerts, and the dashboard: what they ask for is what the application exports. The figures are taken
 * from running processes of every role, by a real Prometheus.
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { alarmNames } from '../../src/alarms.ts'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/http/logging.ts'
import { type App, startApp } from '../../src/main.ts'
import { freePort } from '../support/ports.ts'
import { check, createCustomer, haveShared, photograph } from '../support/product.ts'
import { startTestStack, type TestStack } from '../support/stack.ts'
import { compose, ours, root } from './compose-file.ts'
import { haveTool } from './tools.ts'

const read = (path: string) => readFileSync(join(root, path), 'utf8')

interface Alert {
  readonly alert: string
  readonly expr: string
  readonly annotations: { readonly summary: string; readonly runbook: string }
}
const alerts: Alert[] = parse(read('deploy/prometheus/alerts.yml')).groups.flatMap(
  ({ rules }: { rules: Alert[] }) => rules,
)

interface Target {
  readonly expr: string
  readonly datasource: unknown
}
interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly datasource?: unknown
  readonly targets?: readonly Target[]
  readonly gridPos: { readonly x: number; readonly w: number }
}
interface Dashboard {
  readonly id: null
  readonly uid: string
  readonly panels: readonly Panel[]
}
const dashboard: Dashboard = JSON.parse(read('deploy/grafana/dashboards/liveness.json'))
const queries = dashboard.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => ({ title, expr: expr.replaceAll('$__rate_interval', '5m') })),
)
const expressions = [...queries, ...alerts.map(({ alert, expr }) => ({ title: alert, expr }))]

describe('the runbook', () => {
  const headings = [...read('docs/runbook.md').matchAll(/^### (.+)$/gm)].map(([, heading = '']) => heading)

  test('has every alert and every alarm, and nothing else', () => {
    expect(headings.toSorted()).toEqual([...alerts.map(({ alert }) => alert), ...alarmNames].toSorted())
  })
  test('is where each alert sends its reader', () => {
    for (const { alert, annotations } of alerts) {
      const anchor = alert === 'Alarm' ? '{{ $labels.alarm }}' : alert.toLowerCase()
      expect(annotations.runbook).toBe(`docs/runbook.md#${anchor}`)
    }
  })
  test('knows every alarm that the program logs by name', () => {
    const sources = readdirSync(join(root, 'src'), { recursive: true })
      .map(String)
      .filter((file) => /\.tsx?$/.test(file))
    const named = sources.flatMap((file) =>
      [...read(`src/${file}`).matchAll(/\balarm: '(\w+)'/g)].map(([, name]) => name),
    )
    expect(named.length).toBeGreaterThan(5)
    expect(named.filter((name) => !(alarmNames as readonly string[]).includes(name ?? ''))).toEqual([])
  })
})

describe('the files of Prometheus and Grafana', () => {
  test('Prometheus scrapes every process of ours at the port that it has for operators', () => {
    const { scrape_configs, rule_files } = parse(read('deploy/prometheus/prometheus.yml'))
    const targets = scrape_configs[0].static_configs.flatMap(({ targets }: { targets: string[] }) => targets)
    const expected = ours.map(([name, { environment }]) => `${name}:${environment?.OPERATIONS_PORT}`)
    expect(targets.toSorted()).toEqual(expected.toSorted())
    const mounts = compose.services.prometheus?.volumes?.map((volume) => volume.split(':')[1])
    expect(
      rule_files.map((file: string) => `/etc/prometheus/${file}`).every((file: string) => mounts?.includes(file)),
    ).toBe(true)
  })

  test('the dashboard names its data source in every panel, and that source is provisioned', () => {
    const [source] = parse(read('deploy/grafana/datasources/prometheus.yml')).datasources
    expect(source.url).toBe('http://prometheus:9090')
    const expected = { type: source.type, uid: source.uid }
    for (const { type, title, datasource, targets = [] } of dashboard.panels) {
      if (type === 'row') continue
      expect([datasource, ...targets.map((target) => target.datasource)], title).toEqual(
        Array.from({ length: targets.length + 1 }, () => expected),
      )
    }
    expect(read('deploy/grafana/dashboards/liveness.json')).not.toMatch(/\$\{DS_|__inputs/)
    const [provider] = parse(read('deploy/grafana/dashboards/provider.yml')).providers
    const mounts = compose.services.grafana?.volumes?.map((volume) => volume.split(':')[1])
    expect(mounts).toContain(provider.options.path)
  })

  test('the dashboard can be provisioned: no id of its own, panels with unique ones, none over the edge', () => {
    expect(dashboard.id).toBeNull()
    expect(dashboard.uid).not.toBe('')
    const ids = dashboard.panels.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { title, gridPos } of dashboard.panels) expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24)
  })
})

describe.skipIf(!haveTool('promtool', 'the rules of Prometheus'))('promtool', () => {
  const run = (...args: string[]) => execFileSync('promtool', args, { encoding: 'utf8', stdio: 'pipe' })

  test('takes the configuration and the rules', () => {
    expect(run('check', 'config', join(root, 'deploy/prometheus/prometheus.yml'))).toContain('SUCCESS')
  })
  test('sees each alert fire when it must, and none when all is well', () => {
    expect(run('test', 'rules', join(root, 'test/deploy/alerts.test.yml'))).toContain('SUCCESS')
  })
})

const measurable =
  haveShared('the figures of running processes') && haveTool('prometheus', 'the figures of running processes')

describe.skipIf(!measurable)('what running processes export', () => {
  const folder = mkdtempSync(join(tmpdir(), 'liveness-prometheus-'))
  const apps: App[] = []
  let stack: TestStack
  let prometheus: ReturnType<typeof spawn>
  let url = ''
  let exported = ''

  beforeAll(async () => {
    stack = await startTestStack()
    const log = createLogger('fatal')
    const start = async (roles: string) => {
      const settings = { ...stack.env, ROLES: roles, KAFKA_BROKERS: '127.0.0.1:1' }
      apps.push(await startApp(loadConfig(settings, '/nowhere'), { log }))
    }
    // Without a broker: the relay and the feed export their figures while they try to reach one.
    await start('projections')
    await start('relay,metering')
    await start('api')
    const customer = await createCustomer({ ...stack.env, PORT: '8080', OPERATIONS_PORT: '' }, '--plan', 'standard')
    const api = apps.find((app) => app.url !== undefined)?.url ?? ''
    expect(await check(api, customer.keys.primary, photograph('live/t1.jpg'))).toMatchObject({ status: 200 })

    const config = parse(read('deploy/prometheus/prometheus.yml'))
    config.global = { scrape_interval: '500ms', evaluation_interval: '500ms' }
    config.rule_files = [join(root, 'deploy/prometheus/alerts.yml')]
    config.scrape_configs[0].static_configs = apps.map(({ operationsUrl, roles }) => ({
      targets: [new URL(operationsUrl ?? '').host],
      labels: { role: roles.join(',') },
    }))
    writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(config))
    url = `http://127.0.0.1:${await freePort()}`
    prometheus = spawn(
      'prometheus',
      [
        `--config.file=${folder}/prometheus.yml`,
        `--storage.tsdb.path=${folder}/data`,
        `--web.listen-address=${new URL(url).host}`,
      ],
      { stdio: 'ignore' },
    )
    for (const app of apps) exported += await (await fetch(`${app.operationsUrl}/metrics`)).text()
  }, 120_000)

  afterAll(async () => {
    prometheus?.kill('SIGKILL')
    await Promise.all(apps.map((app) => app.stop()))
    await stack?.stop()
    rmSync(folder, { recursive: true, force: true })
  }, 60_000)

  const query = async (expr: string) => {
    const answer = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query: expr })}`)
    return (await answer.json()) as { status: string; error?: string; data?: { result: unknown[] } }
  }

  test('Prometheus reads all of them', async () => {
    const up = () =>
      query('sum(up{job="liveness"})').then(
        ({ data }) => JSON.stringify(data?.result),
        () => '',
      )
    await expect.poll(up, { timeout: 25_000 }).toContain('"3"')
  })

  /** Metric → its labels, as they stand in the text of the exposition. */
  function labelsOf(metric: string): Set<string> | null {
    const lines = exported.split('\n').filter((line) => line.startsWith(`${metric}{`) || line.startsWith(`${metric} `))
    if (lines.length === 0) return null
    return new Set(lines.flatMap((line) => [...line.matchAll(/[{,](\w+)="/g)].map(([, label = '']) => label)))
  }
  /** Given by Prometheus to every series it scrapes. */
  const ofTargets = ['instance', 'job', 'role']

  test.each(expressions)('$title: $expr asks for metrics and labels that are there', async ({ expr }) => {
    const answer = await query(expr)
    expect([answer.status, answer.error]).toEqual(['success', undefined])
    const bare = expr.replaceAll(/"[^"]*"/g, '""')
    const metrics = [...bare.matchAll(/\b((?:liveness|process|nodejs)_\w+|up)\b/g)].map(([, metric = '']) => metric)
    expect(metrics.length).toBeGreaterThan(0)
    const known = new Set(ofTargets)
    for (const metric of metrics) {
      if (metric === 'up') continue
      const labels = labelsOf(metric)
      expect(labels, metric).not.toBeNull()
      for (const label of labels ?? []) known.add(label)
      const selector = new RegExp(`${metric}\\{([^}]*)\\}`, 'g')
      for (const [, matchers = ''] of bare.matchAll(selector)) {
        for (const [, label = ''] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)) {
          expect([...(labels ?? []), ...ofTargets], `${metric}{${label}}`).toContain(label)
        }
      }
    }
    for (const [, list = ''] of bare.matchAll(/\b(?:by|on)\s*\(([^)]*)\)/g)) {
      for (const label of list.split(',').map((part) => part.trim())) expect([...known], expr).toContain(label)
    }
  })

  test('values that a rule selects are those that are exported', () => {
    for (const { expr } of expressions) {
      for (const [, route = ''] of expr.matchAll(/route="([^"]+)"/g)) expect(exported).toContain(`route="${route}"`)
      for (const [, outcome = ''] of expr.matchAll(/outcome="([^"]+)"/g))
        expect(exported).toContain(`outcome="${outcome}"`)
      for (const [, states = ''] of expr.matchAll(/state=~"([^"]+)"/g)) {
        for (const state of states.split('|')) expect(exported).toContain(`state="${state}"`)
      }
    }
  })

  test('every figure of ours is on the dashboard or in an alert, and none names a customer', () => {
    const families = [...exported.matchAll(/^# TYPE (liveness_\w+) /gm)].map(([, name = '']) => name)
    const asked = expressions.map(({ expr }) => expr).join('\n')
    expect([...new Set(families)].filter((name) => !asked.includes(name))).toEqual([])
    expect(exported).not.toMatch(/customer_?id=|key_?id=|lc_[0-9A-Za-z]{5}/i)
    const wrong = [...exported.matchAll(/^# TYPE (liveness_\w+) (\w+)$/gm)].filter(
      ([, name = '', type]) => (type === 'counter') !== name.endsWith('_total'),
    )
    expect(wrong).toEqual([])
  })
})
