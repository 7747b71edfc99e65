// workerctl under PM2:  pm2 start ecosystem.config.js
// PM2 keeps the supervisor alive; workers, memory limits and reloads without a gap are the supervisor's.
const path = require('path');

module.exports = {
  apps: [
    {
      name: 'workerctl',
      script: path.resolve(__dirname, '.venv/bin/workerctl'),
      args: 'start --foreground',
      cwd: __dirname,
      interpreter: 'none', // a program, not a JavaScript file
      exec_mode: 'fork',
      instances: 1, // one supervisor; the number of workers is `workerctl scale`
      wait_ready: true, // online once every worker is ready
      listen_timeout: 120000, // ms; above boot_timeout (60s) and the one-time making of the database
      kill_timeout: 60000, // ms; above stop_timeout (30s): else PM2 cuts the drain short
      treekill: false, // else PM2 signals every worker, and the database, at the same moment
      autorestart: true,
      stop_exit_codes: [78, 3], // the configuration cannot work; another supervisor holds the home
      max_restarts: 10,
      exp_backoff_restart_delay: 200, // ms
    },
  ],
};
