// A person at a browser: node browser.mjs ADDRESS NAME CHROMIUM NODE_MODULES
//
// Types the name and a password into the provider's page, agrees to what it asks, and prints the last page's address and
// text as JSON.
import { createRequire } from 'node:module';

const [address, name, chromium, modules] = process.argv.slice(2);
const { chromium: playwright } = createRequire(`${modules}/`)('playwright-core');

const browser = await playwright.launch({
  executablePath: chromium,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(30_000);
  const answer = await page.goto(address);
  if (answer.status() === 200 && new URL(page.url()).pathname.startsWith('/interaction/')) {
    await page.fill('input[name=login]', name);
    await page.fill('input[name=password]', 'any');
    await page.click('button[type=submit]');
    await page.waitForURL((url) => url.pathname.startsWith('/interaction/') || url.pathname === '/callback');
    if (new URL(page.url()).pathname.startsWith('/interaction/')) {
      await page.click('button[type=submit]');
      await page.waitForURL((url) => url.pathname === '/callback');
    }
  }
  console.log(JSON.stringify({ address: page.url(), text: await page.innerText('body') }));
} finally {
  await browser.close();
}
