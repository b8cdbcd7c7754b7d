// Looks at the mail server of SMTP_URL as a start does, then sends a letter. Prints `sent`, or why not.
const built = (module) => import(new URL(`../../dist/${module}`, import.meta.url).href)
const { naming } = await built('app/refusals.js')
const { loadConfig } = await built('config.js')
const { createMail } = await built('mail/mail.js')

const { SMTP_URL: smtpUrl, MAIL_FROM: from } = loadConfig(process.env, '/nowhere').config
const mail = await createMail({ smtpUrl, from, outboxDir: '/nowhere', log: { info() {} } })
try {
  await naming('SMTP_URL', mail.verify())
  await mail.send({ to: 'eve@example.com', subject: 'A test', text: 'A test' })
  console.info('sent')
} catch (error) {
  console.info(error.message)
}
mail.close()
