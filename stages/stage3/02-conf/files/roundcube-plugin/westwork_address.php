<?php
/**
 * Tells dovecot for which address the web mail logs somebody in, before it does: to dovecot the
 * web mail is one client for all. And takes only log-ins that nginx can see as such by their
 * address line, where it limits how many come from one client.
 */
class westwork_address extends rcube_plugin
{
    public function init()
    {
        $rcmail = rcmail::get_instance();
        $seen = strpos($_SERVER['QUERY_STRING'] ?? '', '_task=login') !== false;
        if ($rcmail->task === 'login' && $rcmail->action === 'login' && !$seen) {
            http_response_code(400);
            exit;
        }
        $this->add_hook('storage_connect', [$this, 'tell']);
    }

    public function tell($args)
    {
        $args['preauth_ident'] = ['x-originating-ip' => $_SERVER['REMOTE_ADDR'] ?? '127.0.0.1'];
        return $args;
    }
}
