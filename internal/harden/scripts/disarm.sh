# Disarms the activation of an earlier run. Without the file that is removed first, stopping the unit does nothing.
rm -f -- "$ARMED/armed"
systemctl stop strongroom-activation.service 2>/dev/null
rm -rf -- "$ARMED" /run/systemd/system/strongroom-activation.service
