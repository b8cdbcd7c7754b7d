/** What AWS Marketplace said and what waits for a human, for the operator. */
import { type Command, Option } from 'commander'
import type { System } from '../app/system.ts'
import { licenceIdentity } from '../commands/plans.ts'
import { marketplaceDeps } from '../marketplace/assemble.ts'
import { assign, CannotAssign, dismissMessage, retryMessage } from '../marketplace/assign.ts'
import { type KeptMessage, listMessages, listUndecided } from '../marketplace/messages.ts'
import { CommandError, customerIdArgument, print, printJson, printTable, reasonArgument } from './output.ts'
import { withSystem } from './system.ts'

export function addMarketplaceCommands(program: Command): void {
  const marketplace = program
    .command('marketplace')
    .description('messages of AWS Marketplace, and licences that wait for a decision')

  marketplace
    .command('messages')
    .description('the messages that came, the oldest first')
    .option('--unhandled', 'only those that wait, are not understood, failed, or need a human')
    .option('--json', 'one JSON object a line, with the message as it came')
    .action(({ unhandled = false, json }: { unhandled?: boolean; json?: true }) =>
      withSystem(async ({ pool }) => {
        const messages = await listMessages(pool, { unhandled })
        if (json) return messages.map(messageView).forEach(printJson)
        printTable(
          ['RECEIVED', 'STATE', 'KIND', 'MESSAGE', 'WHAT WAS DONE'],
          messages.map((one) => [one.receivedAt.toISOString(), one.state, one.kind, one.id, one.outcome]),
        )
      }),
    )

  marketplace
    .command('retry')
    .description('handle a kept message again')
    .argument('<message>', 'its name, as `marketplace messages` shows it')
    .option('--json', 'one JSON object')
    .action((id: string, { json }: { json?: true }) =>
      withSystem(async (system) => {
        const { state, ...more } = await retryMessage(dependencies(system), id).catch(asCommandError)
        const outcome = 'outcome' in more ? more.outcome : ''
        if (json) return printJson({ id, state, outcome })
        print(`${state}${outcome === '' ? '' : `: ${outcome}`}`)
      }),
    )

  marketplace
    .command('dismiss')
    .description('close a message that is not understood, when a person has read it and it asks for nothing')
    .argument('<message>', 'its name, as `marketplace messages` shows it')
    .requiredOption('--reason <text>', 'kept beside the message', reasonArgument)
    .option('--json', 'one JSON object')
    .action((id: string, { reason, json }: { reason: string; json?: true }) =>
      withSystem(async (system) => {
        await dismissMessage(system, id, reason).catch(asCommandError)
        if (json) return printJson({ id, state: 'handled', outcome: `dismissed: ${reason}` })
        print(`Message ${id} is dismissed: ${reason}`)
      }),
    )

  marketplace
    .command('undecided')
    .description('licences of which only a human can say whose they are')
    .option('--json', 'one JSON object a line')
    .action(({ json }: { json?: true }) =>
      withSystem(async ({ pool }) => {
        const waiting = (await listUndecided(pool)).map(({ party, reason, candidates, since }) => ({
          licence: licenceIdentity(party.licence),
          aws_account_id: party.licence.awsAccountId ?? null,
          since: since.toISOString(),
          reason,
          candidates,
        }))
        if (json) return waiting.forEach(printJson)
        printTable(
          ['SINCE', 'LICENCE', 'CUSTOMERS OF THE AWS ACCOUNT'],
          waiting.map(({ since, licence, candidates }) => [since, licence, candidates.join(', ')]),
        )
      }),
    )

  marketplace
    .command('assign')
    .description('say whose a licence is: of a customer, whose earlier licence it follows, or of a new one')
    .argument('<licence>', 'as `marketplace undecided` shows it')
    .addOption(new Option('--customer <id>', 'the customer who has it from now on').argParser(customerIdArgument))
    .addOption(new Option('--new', 'a customer of its own, made when the buyer registers again').conflicts('customer'))
    .option('--json', 'one JSON object')
    .action((licence: string, options: { customer?: string; new?: true; json?: true }) =>
      withSystem(async (system) => {
        if (options.customer === undefined && options.new === undefined) {
          throw new CommandError('Say whose it is: --customer ID or --new.')
        }
        const assigned = await assign(dependencies(system), licence, options.customer ?? null).catch(asCommandError)
        if (options.json) return printJson({ licence, customer_id: assigned.customerId, outcome: assigned.outcome })
        print(`${licence} is customer ${assigned.customerId}'s: ${assigned.outcome}.`)
      }),
    )
}

const dependencies = (system: System) =>
  marketplaceDeps({ ...system, onAlarm: (message) => void process.stderr.write(`${message}\n`) })

function messageView({ id, kind, state, outcome, sentAt, receivedAt, body }: KeptMessage) {
  return {
    id,
    kind,
    state,
    outcome,
    sent_at: sentAt.toISOString(),
    received_at: receivedAt.toISOString(),
    body,
  }
}

function asCommandError(error: unknown): never {
  throw error instanceof CannotAssign ? new CommandError(error.message) : error
}
