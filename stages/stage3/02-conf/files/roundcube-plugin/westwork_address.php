<?php
/**
 * Tells dovecot for which address the web mail logs somebody in, before it does: what dovecot
 * knows of wrong passwords is by address, and the web mail's own is the same for all.
 */
class westwork_address extends rcube_plugin
{
    public function init()
    {
        $this->add_hook('storage_connect', [$this, 'tell']);
    }

    public function tell($args)
    {
        $args['preauth_ident'] = ['x-originating-ip' => $_SERVER['REMOTE_ADDR'] ?? '127.0.0.1'];
        return $args;
    }
}
