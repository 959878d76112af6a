# Arms the activation: a unit that lives in memory only, does nothing while the machine runs, and activates the hardening when
# the machine is shut down. Nothing is reloaded.
if [ "$(systemctl is-system-running 2>/dev/null)" = stopping ]; then fail 'the machine is being shut down'; fi
rm -rf -- "$ARMED"
mkdir -m 0700 -- "$ARMED" && cp "$here/activate.sh" "$here/late.tar" "$here/late.list" "$ARMED/" || fail 'cannot copy the activation'
same "$ARMED/late.tar" "$LATE_SHA256" || fail 'the upload of the overlay has another SHA-256 than it had when it was made'
cp "$here/strongroom-activation.service" /run/systemd/system/ && chmod 0644 /run/systemd/system/strongroom-activation.service || fail 'cannot write the unit'
systemctl start strongroom-activation.service && systemctl is-active --quiet strongroom-activation.service || fail 'cannot start strongroom-activation.service'
: >"$ARMED/armed" || fail 'cannot arm the activation'
say armed=yes
