-- Providers that the fleet leaves alone at this moment, and why.
  SELECT name, extract(epoch FROM paused_until - now())::double precision AS seconds, strikes, reason
    FROM workerctl.provider
   WHERE paused_until > now()
ORDER BY name
