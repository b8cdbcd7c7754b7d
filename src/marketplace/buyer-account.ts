/** The console account of a buyer from AWS Marketplace: made with the address they give, activated by a letter. */
import pg from 'pg'
import { makeActivationLink } from '../accounts/links.ts'
import type { Mail } from '../mail/mail.ts'
import { transaction } from '../postgres/pool.ts'

export interface BuyerAccountOptions {
  readonly pool: pg.Pool
  readonly mail: Pick<Mail, 'send'>
  /** Address the outside world uses, without a slash at its end. */
  readonly publicUrl: string
}

const uniqueViolation = '23505'

export function createBuyerAccounts({ pool, mail, publicUrl }: BuyerAccountOptions) {
  async function isActive(customerId: string): Promise<boolean> {
    const { rowCount } = await pool.query('select from accounts where customer_id = $1 and activated_at is not null', [
      customerId,
    ])
    return rowCount === 1
  }
  return {
    isActive,
    /**
     * Makes the account, or gives one that is not activated yet another address, and sends the link; an earlier link no
     * longer works.
     * @throws MailFailed: the account is there and the letter is not on its way
     */
    async sendActivation(customerId: string, email: string): Promise<'sent' | 'address_taken' | 'active'> {
      if (await isActive(customerId)) return 'active'
      const made = await transaction(pool, async (client) => {
        await client.query(
          `insert into accounts (customer_id, email) values ($1, $2)
           on conflict (customer_id) do update set email = excluded.email where accounts.activated_at is null`,
          [customerId, email],
        )
        return makeActivationLink(client, publicUrl, customerId)
      }).catch((error: unknown) => {
        if (error instanceof pg.DatabaseError && error.code === uniqueViolation) return null
        throw error
      })
      if (made === null) return 'address_taken'
      await mail.send({ to: made.email, ...made.letter })
      return 'sent'
    },
  }
}
