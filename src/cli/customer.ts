import { type Command, Option } from 'commander'
import { z } from 'zod'
import { type PlanName, planNames } from '../events/catalogue.ts'
import { listCustomers } from '../readmodels/customers.ts'
import { addAccountCommands, sendActivation } from './account.ts'
import { type CreateOptions, createCustomer } from './create-customer.ts'
import { operate } from './operate.ts'
import { argument, customerIdArgument, onOffArgument, print, printJson, printTable, reasonArgument } from './output.ts'
import { aboutPlan } from './set-plan.ts'
import { withSystem } from './system.ts'
import { customerView, onOff, showCustomer } from './views.ts'

const planOption = () => new Option('--plan <plan>', 'the plan').choices(planNames).makeOptionMandatory()
const limit = argument(z.string().regex(/^\d+$/).transform(Number).pipe(z.int().min(1)), 'a whole number from 1')
const limitOption = () => new Option('--limit <calls>', 'calls a month under an individual contract').argParser(limit)
const email = argument(z.email(), 'an e-mail address')

export function addCustomerCommands(program: Command): void {
  const customer = program.command('customer').description('register customers and change what they have')

  customer
    .command('create')
    .description('register a customer; their API keys are shown once, here')
    .addOption(planOption())
    .option('--hard-cap <on|off>', 'stop at the monthly limit (the free plan always does)', onOffArgument, false)
    .addOption(limitOption())
    .option('--email <address>', 'the account that gets the keys when it is activated; none are shown here', email)
    .option('--json', 'one JSON object')
    .action((options: CreateOptions & { json?: true }) =>
      withSystem(
        async (system) => {
          const created = await createCustomer(system, options)
          const link = options.email === undefined ? undefined : await sendActivation(system, created.customer_id)
          if (options.json) return printJson({ ...created, ...(link === undefined ? {} : { activation_link: link }) })
          print(`Customer ${created.customer_id}, plan ${created.plan}, ${created.monthly_limit} calls a month.`)
          if (created.keys === null) {
            print(`Activation link  ${link}`)
            return print(`${options.email} opens it to choose a password and get the API keys. It works for 7 days.`)
          }
          print(`Primary key    ${created.keys.primary}`)
          print(`Secondary key  ${created.keys.secondary}`)
          print('The keys are shown this once and kept nowhere.')
        },
        { mayBegin: true },
      ),
    )

  customer
    .command('list')
    .description('all customers')
    .option('--json', 'one JSON object a line')
    .action(({ json }: { json?: true }) =>
      withSystem(async (system) => {
        const customers = (await listCustomers(system.pool, new Date().toISOString())).map(customerView)
        if (json) return customers.forEach(printJson)
        printTable(
          ['CUSTOMER', 'PLAN', 'LIMIT', 'HARD CAP', 'STATUS'],
          customers.map((one) => [one.customer_id, one.plan, one.monthly_limit, onOff(one.hard_cap), one.status]),
        )
      }),
    )

  customer
    .command('show')
    .description('one customer: plan, keys by their first characters, usage')
    .argument('<customer-id>', '', customerIdArgument)
    .option('--json', 'one JSON object')
    .action((id: string, { json }: { json?: true }) => withSystem((system) => showCustomer(system, id, json)))

  customer
    .command('set-plan')
    .description(
      'change the plan: an upgrade at once, a downgrade when the paid time is over; the present plan cancels a scheduled one',
    )
    .argument('<customer-id>', '', customerIdArgument)
    .addOption(planOption())
    .addOption(limitOption())
    .option('--reason <text>', 'kept in the log', reasonArgument, 'by the operator')
    .option('--json', 'one JSON object')
    .action((id: string, options: { plan: PlanName; limit?: number; reason: string; json?: true }) =>
      withSystem(async (system) => {
        const { plan, limit: monthlyLimit, reason } = options
        const set = await operate(system, id, { type: 'SetPlan', plan, monthlyLimit, origin: 'operator', reason })
        const { cancelled, warning } = aboutPlan(set)
        if (warning !== null) process.stderr.write(`${warning}\n`)
        if (cancelled !== null && options.json === undefined) print(cancelled)
        await showCustomer(system, id, options.json)
      }),
    )

  customer
    .command('set-cap')
    .description('hard cap ON: calls stop at the limit; OFF: they go on as overage')
    .argument('<customer-id>', '', customerIdArgument)
    .argument('<on|off>', '', onOffArgument)
    .option('--json', 'one JSON object')
    .action((id: string, on: boolean, { json }: { json?: true }) =>
      withSystem(async (system) => {
        await operate(system, id, { type: on ? 'EnableHardCap' : 'DisableHardCap' })
        await showCustomer(system, id, json)
      }),
    )

  customer
    .command('deactivate')
    .description('end a customer for good: their keys are refused from now on')
    .argument('<customer-id>', '', customerIdArgument)
    .option('--reason <text>', 'kept in the log', reasonArgument, 'by the operator')
    .option('--json', 'one JSON object')
    .action((id: string, { reason, json }: { reason: string; json?: true }) =>
      withSystem(async (system) => {
        await operate(system, id, { type: 'DeactivateCustomer', reason })
        await showCustomer(system, id, json)
      }),
    )

  addAccountCommands(customer)
}
